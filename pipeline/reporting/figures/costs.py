"""What is left of the first model's costs, and how long the models take."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from pipeline.reporting.cost_tables import BATCHES, SIZES, has_cut
from pipeline.reporting.figures.chart import GRID, KEPT, MUTED, Chart, chart, styled
from pipeline.reporting.layout import format_count, format_number
from pipeline.reporting.report import StageRow


@styled
def what_is_left(rows: Sequence[StageRow]) -> Chart:
    """Return a bar for each cost: the share of the first row's that the last one has, and both numbers.

    Costs that either does not know are left out. Times are by the measured speed-up, model against model in turns; they
    are left out where the first row's model was cut already, for they are against one before any cut.
    """
    first, last = rows[0].metrics, rows[-1].metrics
    bars = [
        (label, last[name] / first[name], f"{format_count(first[name])} → {format_count(last[name])}")
        for name, label in SIZES.items()
        if first.get(name) and name in last
    ]
    bars += [
        (f"time, batch {size}", 1 / speedup, f"{speedup:.2f}× faster" if speedup >= 1 else f"{1 / speedup:.2f}× slower")
        for size in BATCHES
        if not has_cut(first) and (speedup := last.get(f"speedup_b{size}"))
    ]
    figure = chart(max(1.2, 0.5 + 0.28 * len(bars)))
    axes = figure.add_subplot()
    places = range(len(bars))
    axes.barh(places, [1.0] * len(bars), 0.7, color=GRID, label="before")
    drawn = axes.barh(places, [share for _, share, _ in bars], 0.7, color=KEPT, label="left")
    axes.bar_label(drawn, [f"{share:.1%} · {text}" for _, share, text in bars], fontsize=8, padding=4)
    axes.set_yticks(list(places), [label for label, _, _ in bars])
    axes.set(xlim=(0, max(1.45, *(share + 0.45 for _, share, _ in bars)) if bars else 1), ylim=(len(bars) - 0.4, -0.6))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25%", "50%", "75%", "100%"])
    axes.grid(visible=False, axis="y")
    return figure


@styled
def latencies(rows: Sequence[StageRow]) -> Chart:
    """Return a panel per batch size: for each stage the median, and a whisker up to the 95th percentile."""
    sizes = [size for size in BATCHES if any(f"latency_b{size}_ms" in row.metrics for row in rows)]
    figure = chart(max(1.5, 0.75 + 0.26 * len(rows)))
    panels = figure.subplots(1, max(1, len(sizes)), sharey=True, squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=False):
        _whiskers(axes, rows, size)
    panels[0].set_yticks(range(len(rows)), [row.stage for row in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _whiskers(axes: Axes, rows: Sequence[StageRow], size: int) -> None:
    for place, row in enumerate(rows):
        median, p95 = (row.metrics.get(f"latency_b{size}{part}_ms") for part in ("", "_p95"))
        if median is None:
            continue
        if p95 is not None:
            axes.plot([median, p95], [place, place], color=MUTED, lw=1.2, marker="|", ms=5, markevery=[1])
        axes.plot([median], [place], color=KEPT, marker="o", ms=5, gid=f"median {row.stage}")
        axes.annotate(
            format_number(median), (median, place), (0, 4), textcoords="offset points", fontsize=7, ha="center"
        )
    axes.set_xlim(left=0)
    axes.set(title=f"batch {size}", xlabel="ms")
