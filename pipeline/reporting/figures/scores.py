"""How the scores of heads went while they were learned, and how many were gone at each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from pipeline.reporting.decisions import Decision
from pipeline.reporting.figures.chart import DASHES, KEPT, MUTED, REMOVED, SERIES, Chart, chart, place_legend, styled

SHARES = {
    "heads_removed": "heads removed",
    "blocks_masked": "blocks masked",
    "units_removed": "units removed",
    "weights_removed": "weights zero",
}
"""The shares that pruners log."""


@styled
def score_curves(
    decided: Sequence[Decision], log: Sequence[Mapping[str, Any]], *, span: tuple[int, int] | None = None
) -> Chart:
    """Return the score of every unit over time above the share removed over the steps of the stage.

    The first axes hold two collections, ``removed`` and ``kept``, a line for each unit in the order of ``decided``;
    ``span`` marks the steps at which pruning begins and ends.
    """
    has_log = any(name in line for line in log for name in SHARES)
    figure = chart(4.2 if has_log else 2.7)
    if has_log:
        upper, lower = figure.subplots(2, 1, sharex=decided[0].measure == "score", height_ratios=(2, 1))
        _shares(lower, log)
    else:
        upper = figure.subplots()
    _curves(upper, decided)
    counts_steps = [axes for axes in figure.axes if axes is not upper or decided[0].measure == "score"]
    if span is not None and counts_steps:
        _mark_span(counts_steps, span)
    return figure


@styled
def share_curve(
    log: Sequence[Mapping[str, Any]],
    *,
    asked: Sequence[tuple[int, float]] = (),
    span: tuple[int, int] | None = None,
) -> Chart:
    """Return the shares removed over the steps of a stage whose units are too many for a line each.

    ``asked`` are steps and what the schedule asks for after them; ``span`` marks where pruning begins and ends.
    """
    figure = chart(2.3)
    axes = figure.subplots()
    if asked:
        axes.plot(*zip(*asked, strict=True), color=MUTED, lw=0.9, label="asked for", gid="asked")
    _shares(axes, log)
    axes.margins(x=0.01)
    if span is not None:
        _mark_span([axes], span)
    return figure


def _mark_span(panels: Sequence[Axes], span: tuple[int, int]) -> None:
    for axes in panels:
        for edge in span:
            axes.axvline(edge, color=MUTED, lw=0.8, ls=(0, (4, 3)), gid="span")
    panels[-1].annotate(
        "pruning begins, ends",
        (span[0], 1),
        (3, -2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        fontsize=7.5,
        color=MUTED,
        in_layout=False,
    )


def _curves(axes: Axes, decided: Sequence[Decision]) -> None:
    for label, color, style, is_kept in (("removed", REMOVED, (0, (4, 1.5)), False), ("kept", KEPT, "solid", True)):
        lines = [
            np.column_stack([decision.moments, curve])
            for decision in decided
            for curve in decision.scores.T[decision.kept == is_kept]
        ]
        width = 1.3 if len(lines) <= 40 else 0.7
        label = f"{label} ({len(lines)})"
        axes.add_collection(LineCollection(lines, colors=color, linestyles=style, linewidths=width, label=label))
    axes.autoscale_view()
    place_legend(axes)
    measure = decided[0].measure
    axes.set(ylabel=f"{measure} of a unit", xlabel="" if measure == "score" else "round")
    axes.margins(x=0.01)


def _shares(axes: Axes, log: Sequence[Mapping[str, Any]]) -> None:
    for index, (name, label) in enumerate(SHARES.items()):
        points = [(line["step"], line[name]) for line in log if line.get(name) is not None]
        if points:
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, color=SERIES[2 + index], ls=DASHES[index], drawstyle="steps-post", label=label)
    axes.set(ylim=(-0.02, 1.02), xlabel="step", ylabel="share")
    place_legend(axes)
