"""The models of a folder of runs, with the numbers of their manifests: what a frontier is drawn through."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pipeline.artifacts.layout import RECIPE
from pipeline.artifacts.run import Artifact, Run
from pipeline.artifacts.sealed import canonical
from pipeline.errors import ArtifactError, RecipeError
from pipeline.recipe import Recipe, load_recipe
from pipeline.recipe.sources import KNOWN_METRICS
from pipeline.recipe.values import settings_of
from pipeline.sweeps.naming import short_labels
from pipeline.sweeps.notes import read_values

SEED = "seed"
DENSE = "dense"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """One model: where it is, what was varied to get it, and what it came to.

    ``dense_score`` is the score of its own run's dense model, None where the first stage cut already. ``zeros`` is the
    share of zeros in all weights of matrices that the model still has.
    """

    label: str
    artifact: Artifact
    score: float
    dense_score: float | None
    encoder_sparsity: float
    parameters: float
    macs: float
    latency_ms: float = float("nan")
    zeros: float = 0.0
    greater_is_better: bool = True

    @property
    def merit(self) -> float:
        """The score, its sign turned where less is better."""
        return self.score if self.greater_is_better else -self.score

    @property
    def drop(self) -> float | None:
        """By how much the score is worse than that of its run's dense model; None where there is none."""
        if self.dense_score is None:
            return None
        return self.dense_score - self.score if self.greater_is_better else self.score - self.dense_score

    @property
    def name(self) -> str:
        """The run and the stage, as ``evaluate`` takes them below the folder of the runs."""
        return f"{self.artifact.path.parent.name}/{self.artifact.name}"


@dataclass(frozen=True)
class Group:
    """The points that differ in nothing but the seed."""

    label: str
    points: tuple[Point, ...]

    def mean(self, number: str) -> float:
        """Return the mean over the seeds of a point's ``number``, such as ``"score"`` or ``"macs"``."""
        return fmean(float(getattr(point, number)) for point in self.points)

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the score over the seeds, ``n - 1`` in its denominator; None for one seed."""
        return stdev(point.score for point in self.points) if len(self.points) > 1 else None

    @property
    def best(self) -> Point:
        """The point of the best score, the first of several."""
        return max(self.points, key=lambda point: point.merit)


@dataclass(frozen=True)
class Points:
    """The points of a folder, and why runs of it have none; ``metric`` is the split and the score they compare by."""

    metric: str
    points: tuple[Point, ...]
    left_out: Mapping[str, str]

    @property
    def has_zeros(self) -> bool:
        """Whether any model was made sparse in its weights."""
        return any(point.zeros > 0 for point in self.points)

    def groups(self) -> list[Group]:
        """Return the points in groups, in the order in which they were found."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            found.setdefault(point.label, []).append(point)
        return [Group(label, tuple(points)) for label, points in found.items()]


SAME = (
    "type",
    "dataset",
    "validation",
    "validation_rows",
    "label",
    "labels",
    "metric",
    "greater_is_better",
    "max_length",
)
"""What the tasks of runs must have in common, so that their scores compare."""


def collect_points(folder: Path, stages: Mapping[str, Any]) -> tuple[Points, Recipe]:
    """Return the last stage's model of every finished run below ``folder``, each dense model once, and a recipe.

    Raises ``RecipeError`` when no run is finished, or when the runs are of several tasks.
    """
    runs, left_out = _finished_runs(folder, stages)
    if not runs:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "there is no run in it"
        raise RecipeError(f"{folder}: no finished run to compare ({why}); make some with: pruneline sweep")
    recipes = list(runs.values())
    _check_one_task(runs)
    task = recipes[0].task
    if task.metric[0] not in KNOWN_METRICS and task.greater_is_better is None:
        logger.warning("task.greater_is_better: not said of %s, so more of it is taken for better", task.metric[0])
    metric = f"{task.validation[0]}/{task.metric[0]}"
    labels = _told_apart(_labels(folder, [run.name for run in runs]), runs)
    points = _dense_points(runs, metric)
    for run, recipe in runs.items():
        last = run[recipe.stages[-1].name]
        if len(recipe.stages) > 1 or _dense(run, recipe) is None:
            points.append(_point(labels[run.name], last, metric, _dense(run, recipe)))
    if task.greater_is_better is False:
        points = [replace(point, greater_is_better=False) for point in points]
    return Points(metric, tuple(points), left_out), recipes[0]


def _finished_runs(folder: Path, stages: Mapping[str, Any]) -> tuple[dict[Run, Recipe], dict[str, str]]:
    runs: dict[Run, Recipe] = {}
    left_out: dict[str, str] = {name: "not begun" for name in read_values(folder) if not (folder / name).is_dir()}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not (path / RECIPE).is_file():
            continue
        try:
            run, recipe = Run.open(path), load_recipe(path / RECIPE, stages=stages)
            missing = [stage.name for stage in recipe.stages if stage.name not in run.stages]
            if missing or run.outdated():
                left_out[run.name] = f"{(missing or run.outdated())[0]} is still to be run"
            else:
                runs[run] = recipe
        except (ArtifactError, RecipeError) as error:
            left_out[path.name] = str(error)
    return runs, left_out


def _check_one_task(runs: Mapping[Run, Recipe]) -> None:
    (first, recipe), *others = runs.items()
    for run, other in others:
        for field in SAME:
            ours, theirs = getattr(recipe.task, field), getattr(other.task, field)
            if ours != theirs:
                raise RecipeError(
                    f"{first.path.parent}: runs of one task can be compared, got task.{field} {ours} in {first.name} "
                    f"and {theirs} in {run.name}; move one of them to another folder"
                )


def _labels(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return for each run what was varied but for the seed, ``sparsity=0.5``; its name where that is not noted."""
    noted = read_values(folder)
    paths = list(dict.fromkeys(path for values in noted.values() for path in values if path != SEED))
    short = dict(zip(paths, short_labels(paths), strict=True))
    return {
        name: ", ".join(f"{short[path]}={value}" for path, value in noted[name].items() if path != SEED)
        if name in noted
        else name
        for name in names
    }


def _told_apart(labels: Mapping[str, str], runs: Mapping[Run, Recipe]) -> dict[str, str]:
    """Return the labels, those of runs that differ in more than the seed made different by a run's name."""
    named = {run.name: labels[run.name] or recipe.stages[-1].name for run, recipe in runs.items()}
    kinds: dict[str, dict[str, str]] = {}
    signs = {run.name: _settings(recipe) for run, recipe in runs.items()}
    for name, sign in signs.items():
        kinds.setdefault(named[name], {}).setdefault(sign, name)
    return {
        name: label if len(kinds[label]) == 1 else f"{label} of {kinds[label][signs[name]]}"
        for name, label in named.items()
    }


def _settings(recipe: Recipe) -> str:
    """Return all that a recipe says but for its name, its seed, and what changes no result."""
    parts = (recipe.model, recipe.task, *(() if recipe.budget is None else (recipe.budget,)))
    stages = [{"uses": stage.uses, **settings_of(stage.config)} for stage in recipe.stages]
    return canonical([*(settings_of(part) for part in parts), *stages])


def _dense(run: Run, recipe: Recipe) -> Artifact | None:
    first = run[recipe.stages[0].name]
    has_zeros = first.metrics.get("matmul_sparsity", 0.0) > 0
    return first if first.keep_plan is None and not has_zeros else None


def _dense_points(runs: Mapping[Run, Recipe], metric: str) -> list[Point]:
    """Return a point for each dense model, those that differ in more than the seed under labels of their own."""
    found: dict[str, Artifact] = {}
    for run, recipe in runs.items():
        if (dense := _dense(run, recipe)) is not None:
            found.setdefault(dense.manifest.fingerprint, dense)
    kinds: dict[str, str] = {}
    for artifact in found.values():
        kinds.setdefault(_without_seed(artifact), f"{DENSE} of {artifact.path.parent.name}")
    labels = kinds if len(kinds) > 1 else dict.fromkeys(kinds, DENSE)
    return [_point(labels[_without_seed(artifact)], artifact, metric, artifact) for artifact in found.values()]


def _without_seed(artifact: Artifact) -> str:
    document = dict(artifact.manifest.document)
    parent = {key: value for key, value in document["parent"].items() if key != SEED}
    return canonical({**document, SEED: None, "parent": parent})


def _point(label: str, artifact: Artifact, metric: str, dense: Artifact | None) -> Point:
    metrics = artifact.metrics
    missing = [name for name in (metric, "encoder_sparsity", "parameters", "macs") if name not in metrics]
    if missing:
        raise RecipeError(f"{artifact.path}: {missing[0]} was not measured; {artifact.how_to_redo()}")
    return Point(
        label=label,
        artifact=artifact,
        score=metrics[metric],
        dense_score=None if dense is None else dense.metrics[metric],
        encoder_sparsity=metrics["encoder_sparsity"],
        parameters=metrics["parameters"],
        macs=metrics["macs"],
        zeros=metrics.get("matmul_sparsity", 0.0),
    )
