"""What a frontier leaves beside the runs it compares."""

from __future__ import annotations

from pathlib import Path

from pipeline.artifacts.commit import write_file
from pipeline.sweeps.frontier import Frontier
from pipeline.sweeps.points import Point


def write_frontier(frontier: Frontier, folder: Path, chosen: Point | None = None) -> list[Path]:
    """Write ``frontier.json``, ``.md`` and ``.svg`` into ``folder``, each whole or not at all, and return the paths."""
    from pipeline.reporting.figures.chart import svg_document
    from pipeline.sweeps.figure import plot_frontier

    texts = {
        "frontier.json": frontier.json(),
        "frontier.md": frontier.markdown(),
        "frontier.svg": svg_document(plot_frontier(frontier, chosen=chosen)),
    }
    for name, text in texts.items():
        write_file(folder / name, text.encode())
    return [folder / name for name in texts]
