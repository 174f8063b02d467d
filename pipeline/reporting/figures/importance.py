"""The importance of channels, layer by layer, and where the cut fell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from pipeline.reporting.decisions import Decision, layer_name
from pipeline.reporting.figures.chart import KEPT, MUTED, REMOVED, WIDTH, Chart, chart, styled, thinned

COLUMNS = 4
LOWEST = 1e-6
"""What is below this share of the largest importance is drawn at it: the axis is logarithmic."""


@styled
def importance_ranks(decided: Sequence[Decision]) -> Chart:
    """Return a panel per layer: kept units by falling importance, the cut, then the removed ones.

    A unit stands with its importance in the round that removed it, or in the last one. In each panel the line
    ``cut`` is at the number of units kept.
    """
    columns = min(COLUMNS, len(decided))
    rows = -(-len(decided) // columns)
    figure = chart(0.5 + 1.55 * rows, width=WIDTH)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    largest = max((float(decision.final.max()) for decision in decided if decision.final.size), default=0.0) or 1.0
    for axes, decision in zip(panels, decided, strict=False):
        _ranks(axes, decision, largest * LOWEST)
    for axes in panels[len(decided) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel("importance")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=3)
    return figure


def _ranks(axes: Axes, decision: Decision, lowest: float) -> None:
    values = np.maximum(decision.final, lowest)
    num_kept = int(decision.kept.sum())
    kept, removed = (np.sort(values[mask])[::-1] for mask in (decision.kept, ~decision.kept))
    for ordered, start, color, style, label in (
        (kept, 0, KEPT, "-", "kept"),
        (removed, num_kept, REMOVED, (0, (3, 1)), "removed"),
    ):
        chosen = thinned(ordered)
        axes.plot(start + chosen, ordered[chosen], color=color, ls=style, lw=1.8, label=label)
        axes.fill_between(start + chosen, ordered[chosen], lowest, color=color, alpha=0.18, lw=0)
    axes.axvline(num_kept, color=MUTED, lw=1.0, label="cut", gid="cut")
    axes.set_yscale("log")
    axes.set(xlim=(0, max(len(values), 1)), ylim=(lowest, None))
    axes.set_title(f"layer {layer_name(decision.group)}: {num_kept} of {len(values)} kept", fontsize=8)
