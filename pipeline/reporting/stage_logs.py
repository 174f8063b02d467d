"""What the stages of a run logged while they trained, on one time axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.reporting.scores import split_and_metric, split_scores, splits_of

if TYPE_CHECKING:
    from pipeline.artifacts.run import Artifact, Run

Points = list[tuple[float, float]]
"""Seconds since the run's first step, and a value."""


@dataclass(frozen=True)
class StageLog:
    """The loss and the scores of one stage, which trained from ``start`` on for ``seconds``.

    The log counts steps; they are spread evenly over the stage's training time. The last point of a score is that of
    the committed model, at the end of the stage.
    """

    stage: str
    start: float
    seconds: float
    loss: Points
    scores: Mapping[str, Points]
    metric: str
    """What the scores are of, on each split."""


def stage_logs(run: Run) -> list[StageLog]:
    """Return the log of each committed stage, one after the other without the pauses between them."""
    found: list[StageLog] = []
    for name in run.stages:
        start = found[-1].start + found[-1].seconds if found else 0.0
        found.append(_stage_log(run[name], start))
    return found


def _stage_log(artifact: Artifact, start: float) -> StageLog:
    details, lines = artifact.manifest.details, artifact.history()
    seconds = float(details.get("seconds") or artifact.manifest.seconds)
    steps = max([int(details.get("steps") or 0), *(int(line["step"]) for line in lines), 1])

    def points(name: str) -> Points:
        return [(start + seconds * line["step"] / steps, float(line[name])) for line in _with(lines, name)]

    committed = split_scores(artifact.metrics)
    named = {name: split_and_metric(name, splits_of(artifact)) for name in committed}
    metric = next((metric for _, metric in named.values()), "")
    scores = {
        name: [point for point in points(name) if point[0] < start + seconds] + [(start + seconds, value)]
        for name, value in committed.items()
        if named[name][1] == metric
    }
    return StageLog(artifact.name, start, seconds, points("loss"), scores, metric)


def _with(lines: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [line for line in lines if line.get(name) is not None]
