"""The report as one page: a file that needs no network, for the screen by day and night, and for paper."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from pipeline.artifacts.commit import write_file
from pipeline.artifacts.sealed import digest
from pipeline.reporting.cost_tables import has_cut
from pipeline.reporting.layout import format_count, format_metric, format_number, format_share, format_speedup
from pipeline.reporting.report import Report, StageRow
from pipeline.reporting.scores import split_scores, spoken

if TYPE_CHECKING:
    from pipeline.artifacts.run import Run
    from pipeline.reporting.gallery import Picture

PAGE = "report.html"
VERSION = 2
"""Of the figures: a page drawn by another version is drawn again."""
MARK = re.compile(rb'<meta name="pruneline" content="([0-9a-f]{64})">')


@dataclass(frozen=True)
class Tile:
    """One number that sums the run up, what it is of, and where it came from."""

    name: str
    value: str
    note: str = ""


def write_page(run: Run, report: Report | None = None) -> None:
    """Write ``report.html`` into the run's folder unless the page there shows the same; drawing needs matplotlib.

    ``report`` is the run's, where it was read already.
    """
    path, report = run.path / PAGE, report or Report.from_run(run)
    mark = _mark(run, report)
    if path.exists() and (found := MARK.search(path.read_bytes()[:4096])) and found[1].decode() == mark:
        return
    write_file(path, page(run, report, mark).encode())


def page(run: Run, report: Report, mark: str = "") -> str:
    """Return the page of ``run`` as HTML, ``mark`` saying of what."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from pipeline.reporting.figures.chart import inline_svg
    from pipeline.reporting.gallery import pictures

    def drawn(picture: Picture) -> Markup:
        return Markup(inline_svg(picture.figure, picture.title))

    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["svg"] = drawn
    stages, *others = report.tables()
    return environment.from_string(_template()).render(
        mark=mark,
        report=report,
        tiles=tiles(report.rows, report.splits),
        stages=stages,
        tables={table.title: table for table in others},
        sections=_sections(pictures(run, report)),
        recipe_text=run.recipe_text if report.rows else "",
    )


def tiles(rows: Sequence[StageRow], splits: Sequence[str]) -> list[Tile]:
    """Return the numbers that a reader asks for first: the first stage's model against the last one's."""
    if not rows:
        return []
    first, last = rows[0], rows[-1]
    found = []
    for name, value in split_scores(last.metrics).items():
        before = first.metrics.get(name)
        found.append(Tile(spoken(name, splits), format_metric(name, value), _change(name, before, value)))
    if (sparsity := last.metrics.get("encoder_sparsity")) is not None:
        found.append(Tile("encoder sparsity", format_share(sparsity), "of the encoder's parameters removed"))
    if last.metrics.get("weights_touched"):
        touched = format_count(last.metrics["weights_touched"])
        found.append(Tile("zeros", format_share(last.metrics.get("weight_sparsity")), f"of {touched} weights touched"))
    if last.metrics.get("macs") and first.metrics.get("macs") and not has_cut(first.metrics):
        found.append(Tile("fewer MACs", format_speedup(first.metrics["macs"] / last.metrics["macs"]), "per row"))
    for size in (1, 32):
        if speedup := last.metrics.get(f"speedup_b{size}"):
            latency = format_number(last.metrics.get(f"latency_b{size}_ms"))
            against = ", against the model before any cut" if has_cut(first.metrics) else ""
            found.append(Tile(f"speed-up, batch {size}", format_speedup(speedup), f"{latency} ms{against}"))
    total = sum(row.seconds for row in rows)
    return [*found, Tile("time", _duration(total), f"in {len(rows)} stage{'s' if len(rows) > 1 else ''}")]


def _change(name: str, before: float | None, after: float) -> str:
    if before is None:
        return ""
    difference = after - before
    is_share = format_metric(name, after).endswith("%")
    change = f"{100 * difference:+.2f} points" if is_share else f"{difference:+.4f}"
    return f"from {format_metric(name, before)}: {change.replace('-', '−')}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _sections(found: Iterable[Picture]) -> dict[str, list[Picture]]:
    sections: dict[str, list[Picture]] = {}
    for picture in found:
        sections.setdefault(picture.section, []).append(picture)
    return sections


def _mark(run: Run, report: Report) -> str:
    """Return the digest of all that the page shows, read without drawing it."""
    files = {name: dict(artifact.manifest.files) for name, artifact in run.artifacts().items()}
    return digest([VERSION, _template(), report.json(), files])


def _template() -> str:
    return resources.files("pipeline.reporting").joinpath("page.html.j2").read_text(encoding="utf-8")
