"""Loss and metric of all stages on one time axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from pipeline.reporting.figures.chart import DASHES, GRID, INK, MUTED, SERIES, Chart, chart, styled, thinned
from pipeline.reporting.stage_logs import StageLog

MINUTE, HOUR = 60.0, 3600.0


@styled
def timeline(logs: Sequence[StageLog]) -> Chart:
    """Return the loss above the scores of all stages, one after the other as they were trained.

    A line of the loss belongs to one stage: losses of different kinds of stages do not compare. Points of a score are
    joined within a stage; the last, filled one is the committed model's.
    """
    figure = chart(4.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    end = max((log.start + log.seconds for log in logs), default=1.0)
    unit, name = (HOUR, "hours") if end >= 2 * HOUR else (MINUTE, "minutes") if end >= 2 * MINUTE else (1.0, "seconds")
    for log in logs:
        chosen = thinned(log.loss, 400)
        seconds, values = np.array(log.loss).reshape(-1, 2)[chosen].T if log.loss else np.zeros((2, 0))
        upper.plot(seconds / unit, values, color=INK, lw=1.0, gid=f"loss {log.stage}")
    if any(value > 0 for log in logs for _, value in log.loss):
        upper.set_yscale("log")
    names = list(dict.fromkeys(name for log in logs for name in log.scores))
    for index, score in enumerate(names):
        _score(lower, logs, score, index, unit)
    upper.set_ylabel("loss")
    lower.set(xlabel=f"{name} of training", ylabel=logs[0].metric if logs else "")
    if len(names) > 1:
        lower.legend(loc="lower right", ncols=min(3, len(names)))
    _stages(figure.axes, logs, unit)
    return figure


def _score(axes: Axes, logs: Sequence[StageLog], name: str, index: int, unit: float) -> None:
    color, style = SERIES[index % len(SERIES)], DASHES[index % len(DASHES)]
    label = name.removesuffix(f"/{logs[0].metric}")
    ends = np.array([log.scores[name][-1] for log in logs if log.scores.get(name)]).reshape(-1, 2)
    axes.plot(ends[:, 0] / unit, ends[:, 1], color=MUTED, ls=":", lw=0.8)
    for log in logs:
        points = np.array(log.scores.get(name, [])).reshape(-1, 2)
        if len(points):
            axes.plot(points[:, 0] / unit, points[:, 1], color=color, ls=style, marker="o", ms=3, mfc="none", lw=1.0)
            axes.plot(
                points[-1:, 0] / unit, points[-1:, 1], color=color, ls="", marker="o", ms=5, label=label, clip_on=False
            )
            label = "_" + label.lstrip("_")


def _stages(panels: Sequence[Axes], logs: Sequence[StageLog], unit: float) -> None:
    """Shade every other stage, and name them above the first panel."""
    for index, log in enumerate(logs):
        begin, end = log.start / unit, (log.start + log.seconds) / unit
        for axes in panels:
            axes.axvspan(begin, end, color=GRID, alpha=0.45 if index % 2 == 0 else 0.0, lw=0, zorder=0)
        panels[0].annotate(
            log.stage,
            ((begin + end) / 2, 1),
            (0, 3 + 9 * (index % 2)),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=MUTED,
            in_layout=False,
        )
    panels[0].set_title("\n ")
    for axes in panels:
        axes.margins(x=0)
