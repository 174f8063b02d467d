"""The frontier as a figure: the score against each cost, the optimal points joined."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from pipeline.reporting.figures.chart import KEPT, MUTED, REMOVED, Chart, chart, styled
from pipeline.reporting.layout import SHARE_METRICS
from pipeline.sweeps.frontier import COSTS, Frontier
from pipeline.sweeps.points import DENSE, Group, Point

UNITS = {"encoder sparsity": 100.0, "MACs": 1e-6, "zeros": 100.0, "latency": 1.0}
TITLES = {
    "encoder sparsity": "encoder sparsity, %",
    "MACs": "million MACs per row",
    "zeros": "zeros of all matrix weights, %",
    "latency": "milliseconds, batch {}",
}
HEIGHT = 3.2
ABOVE: dict[str, Any] = {"xytext": (0, 7), "ha": "center", "va": "bottom", "rotation": 30}
BELOW: dict[str, Any] = {"xytext": (0, -7), "ha": "center", "va": "top", "rotation": 30}
"""Labels of neighbours, which lie close where a cost is small, go to different sides and stand askew."""


@styled
def plot_frontier(frontier: Frontier, *, chosen: Point | None = None) -> Chart:
    """Return the mean score of every group against each of the costs that tell models apart, a panel each.

    Bars show the standard deviation over seeds. Optimal groups are filled and joined, dense ones square; a ring lies
    around the ``chosen`` model.
    """
    figure = chart(HEIGHT)
    costs = frontier.costs()
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for axes, cost in zip(panels, costs, strict=True):
        _draw(axes, frontier, cost)
        if chosen is not None:
            own = Group(chosen.label, (chosen,))
            axes.plot(_x(own, cost), _y(own, frontier), "o", ms=13, mfc="none", mec=REMOVED, mew=1.6, label="chosen")
        axes.set_xlabel(TITLES[cost].format(frontier.batch_size))
    metric = frontier.points.metric.rpartition("/")[2]
    panels[0].set_ylabel(f"{metric}, %" if metric in SHARE_METRICS else metric)
    panels[0].legend(*_once(panels[0]), loc="best")
    return figure


def _draw(axes: Axes, frontier: Frontier, cost: str) -> None:
    optimal = frontier.optimal(cost)
    line = sorted((_x(group, cost), _y(group, frontier)) for group in optimal)
    axes.plot([x for x, _ in line], [y for _, y in line], color=KEPT, lw=1.2, zorder=1, label="optimal")
    for number, group in enumerate(sorted(frontier.groups(), key=lambda group: _x(group, cost))):
        x, y, is_optimal = _x(group, cost), _y(group, frontier), group in optimal
        marker = "s" if group.label.startswith(DENSE) else "o"
        color = KEPT if is_optimal else MUTED
        spread = None if group.deviation is None else group.deviation * _scale(frontier)
        axes.errorbar(x, y, yerr=spread, color=color, fmt=marker, ms=6, mfc=color if is_optimal else "none", capsize=2)
        place = ABOVE if number % 2 else BELOW
        axes.annotate(group.label, (x, y), textcoords="offset points", fontsize=7, color=MUTED, **place)
    axes.margins(0.22)


def _x(group: Group, cost: str) -> float:
    return abs(COSTS[cost](group)) * UNITS[cost]


def _y(group: Group, frontier: Frontier) -> float:
    return group.mean("score") * _scale(frontier)


def _scale(frontier: Frontier) -> float:
    return 100.0 if frontier.points.metric.rpartition("/")[2] in SHARE_METRICS else 1.0


def _once(axes: Axes) -> tuple[list[object], list[str]]:
    """Return the legend's entries, each label once."""
    found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return list(found.values()), list(found)
