"""How wide each layer is, before and after: heads and FFN channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from pipeline.reporting.figures.chart import GRID, MUTED, PAPER, SERIES, Chart, chart, styled, thinned
from pipeline.reporting.report import StageRow
from pipeline.reporting.units import KINDS

MOST_NUMBERS = 16


@styled
def layer_widths(rows: Sequence[StageRow]) -> Chart:
    """Return a panel for heads and one for channels: a bar per layer for each stage that left another width.

    The first bar, drawn widest and pale, is what the first of ``rows`` has; each later one is narrower and in front.
    """
    kinds = [kind for kind in KINDS if any(kind in row.kept for row in rows)]
    figure = chart(2.5)
    panels = figure.subplots(1, max(1, len(kinds)), squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=False):
        _bars(axes, kind, _changes(rows, kind))
    return figure


def _changes(rows: Sequence[StageRow], kind: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return the stages after which the widths differ from those before, the first stage included."""
    known = [(row.stage, row.kept[kind]) for row in rows if kind in row.kept]
    return [stage for index, stage in enumerate(known) if index == 0 or stage[1] != known[index - 1][1]]


def _bars(axes: Axes, kind: str, changes: Sequence[tuple[str, tuple[int, ...]]]) -> None:
    places = np.arange(len(changes[0][1]))
    for index, (stage, widths) in enumerate(changes):
        thickness = 0.86 - 0.5 * index / max(1, len(changes) - 1) if index else 0.86
        color = GRID if index == 0 else SERIES[(index - 1) % len(SERIES)]
        bars = axes.bar(
            places, widths, thickness, color=color, edgecolor=MUTED, linewidth=0.5, label=stage, zorder=2 + index
        )
        if index == len(changes) - 1 and len(places) <= MOST_NUMBERS:
            axes.bar_label(bars, fontsize=7.5, padding=1.5, zorder=9, bbox={"fc": PAPER, "ec": "none", "pad": 0.6})
    chosen = thinned(places, MOST_NUMBERS)
    axes.set_xticks(chosen, [str(place) for place in chosen])
    axes.set(xlabel="layer", title=f"{'FFN channels' if kind == 'channels' else kind} left")
    axes.set_ylim(0, max(max(changes[0][1]), 1) * 1.08)
    axes.grid(visible=False, axis="x")
    legend = axes.legend(loc="lower left", bbox_to_anchor=(0.3, 1.0), ncols=3, borderaxespad=0.2, handlelength=1.2)
    legend.set_in_layout(False)
