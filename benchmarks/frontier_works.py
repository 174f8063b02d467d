"""The works that a frontier can be measured on: their rows, their splits, and what their runs are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mnli_work
from frontier_runs import Outcome
from published_mnli import published_table
from sst2_work import FILES, sst2_recipe


@dataclass(frozen=True)
class FrontierWork:
    """A work: ``splits`` as the tables show them, the one that settings are chosen on first.

    ``prefix`` begins the names of its runs and of their folder; no ablation's name holds a dot, so the runs of two
    works are never called alike. ``recipe`` takes the folders of the data, of the model and of the runs.
    """

    title: str
    num_rows: str
    files: tuple[str, ...]
    splits: tuple[str, str]
    prefix: str
    recipe: Callable[[Path, Path, Path], dict[str, Any]]
    beside: Callable[[Sequence[Outcome]], str] | None = None
    """A table of what others have published, if there is one."""

    def document(self, data: Path, model: Path, runs_dir: Path, rows: int | None) -> dict[str, Any]:
        """Return the work's recipe, on as many of the first rows as were asked for."""
        document = self.recipe(data, model, runs_dir)
        if rows is not None:
            document["task"]["train_rows"] = rows
        return document

    def runs_dir(self, rows: int | None) -> Path:
        """Return the folder of its runs, unless another is asked for."""
        return Path("runs") / f"frontier-{self.prefix.replace('.', '-')}{rows or self.num_rows}"


WORKS = {
    "sst2": FrontierWork(
        title="SST-2",
        num_rows="20k",
        files=tuple(FILES.values()),
        splits=("heldout", "validation"),
        prefix="",
        recipe=lambda data, model, runs_dir: sst2_recipe(data, model),
    ),
    "mnli": FrontierWork(
        title="MNLI",
        num_rows="39k",
        files=(mnli_work.TRAIN, mnli_work.VALIDATION),
        splits=("heldout", "validation_matched"),
        prefix="mnli.",
        recipe=lambda data, model, runs_dir: mnli_work.mnli_recipe(data, model, runs_dir / "mnli-rows"),
        beside=published_table,
    ),
}
