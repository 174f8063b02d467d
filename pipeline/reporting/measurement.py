"""Measures any model on a recipe's task: a stage of a run, a model folder, or a model of the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.commands import run_command
from pipeline.artifacts.layout import RECIPE
from pipeline.artifacts.run import Artifact, Run
from pipeline.errors import RecipeError

if TYPE_CHECKING:
    from pipeline.recipe import Recipe

MODEL_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
RELATIVE = ("encoder_sparsity", "speedup_b1", "speedup_b8", "speedup_b32")
"""Numbers against a first model, which a model in no run does not have."""


@dataclass(frozen=True)
class Target:
    """What is to be measured: a stage's ``artifact`` with its ``run``, or a ``folder`` (a hub id if not there)."""

    label: str
    folder: Path
    run: Run | None = None
    artifact: Artifact | None = None


@dataclass(frozen=True)
class Measurement:
    """The numbers of one model, under the names that manifests use."""

    label: str
    metrics: Mapping[str, float]


def find_target(target: str | Path | Run | Artifact, runs_dir: Path | str) -> Target:
    """Return what ``target`` means: ``RUN`` (its last stage), ``RUN/STAGE``, a model folder, or a hub id.

    Runs are looked up as paths and below ``runs_dir``. Raises ``RecipeError`` for a path that leads to no model.
    """
    if isinstance(target, Run):
        return _last_stage(target)
    if isinstance(target, Artifact):
        return _stage(Run.open(target.path.parent), target.name)
    places = (Path(target), Path(runs_dir) / target)
    for path in places:
        if (path / RECIPE).is_file():
            return _last_stage(Run.open(path))
        if (path / "config.json").is_file():
            return Target(str(path), path)
        if (path.parent / RECIPE).is_file() and (name := _stage_at(path)) is not None:
            return _stage(Run.open(path.parent), name)
    if len(Path(target).parts) > 1:
        for path in places:
            if (path.parent / RECIPE).is_file():
                return _stage(Run.open(path.parent), path.name)
    text = str(target)
    if text.startswith((".", "/", "~")) or text.count("/") > 1 or os.path.exists(text):
        raise RecipeError(f"{text}: no run, stage or model is there; give RUN, RUN/STAGE, a model folder or a hub id")
    return Target(text, Path(text))


def measure(target: Target, recipe: Recipe, *, runs_dir: Path | str, stages: Mapping[str, Any]) -> Measurement:
    """Return every metric of the task and what the model costs; speed-ups are over the first stage of its run."""
    from pipeline.models import load_model
    from pipeline.reporting.profile import profile_stage
    from pipeline.runner.inspection import Inspector
    from pipeline.runner.workbench import Workbench
    from pipeline.training.evaluation import evaluate

    folder = target.folder if target.folder.is_dir() else _from_hub(str(target.folder))
    if target.artifact is not None:
        target.artifact.verify()
    run = target.run or Run(Path(runs_dir) / recipe.name)
    bench = Workbench(Inspector(recipe, run, stages), folder)
    task = bench.task
    model = load_model(folder, task.auto_model)
    task.check_model(model)
    artifact = target.artifact
    is_dense = artifact is None or (artifact.name == recipe.stages[0].name and artifact.keep_plan is None)
    reference = model if is_dense else bench.dense_model()
    costs = profile_stage(model, reference, task, folder=folder)
    if target.artifact is None:
        costs = {name: value for name, value in costs.items() if name not in RELATIVE}
    return Measurement(target.label, {**evaluate(model, task), **costs})


def _stage_at(path: Path) -> str | None:
    """Return the stage of the run around ``path`` that this is, by its folder or its name; None if it is none."""
    found = Run(path.parent).artifacts()
    return next((name for name, artifact in found.items() if path.name in (name, artifact.path.name)), None)


def _last_stage(run: Run) -> Target:
    if not run.stages:
        raise RecipeError(f"{run.path}: no stage is committed yet; finish one with: {run_command(run.path)}")
    return _stage(run, run.stages[-1])


def _stage(run: Run, name: str) -> Target:
    artifact = run[name]
    return Target(f"{run.name}/{name}", artifact.model_dir, run, artifact)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=MODEL_FILES))
    except Exception as error:  # the hub's and the network's errors have no common class
        reason = " ".join(str(error).split())[:200]
        raise RecipeError(
            f"{name}: is no run, stage or folder here, and not to be had from the hub: {reason}"
        ) from error
