"""Which runs there are, what state their stages are in, and who works on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.layout import RECIPE
from pipeline.artifacts.lock import Holder, holder
from pipeline.artifacts.run import Artifact, Run
from pipeline.errors import ArtifactError, CompressionError
from pipeline.runner.inspection import StagePlan
from pipeline.runner.planning import build_plan


@dataclass(frozen=True)
class RunStatus:
    """One run: its stages' states, the process that works on it, and why the states could not be told, if so."""

    name: str
    path: Path
    stages: tuple[StagePlan, ...]
    holder: Holder | None = None
    problem: str | None = None


def describe_runs(runs_dir: Path | str, stages: Mapping[str, Any], *, verify: bool = False) -> list[RunStatus]:
    """Return the status of every run below ``runs_dir``, by name."""
    folder = Path(runs_dir)
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if (path / RECIPE).is_file())
    return [describe_run(path, stages, verify=verify) for path in found]


def describe_run(path: Path | str, stages: Mapping[str, Any], *, verify: bool = False) -> RunStatus:
    """Return the status of one run against its own recipe; ``verify`` reads every byte of every artifact."""
    from pipeline.recipe import load_recipe

    run, problem = Run.open(path), None
    try:
        artifacts = run.artifacts()
    except ArtifactError as error:
        return RunStatus(run.name, run.path, (), holder(run.path), str(error))
    try:
        found = build_plan(load_recipe(run.path / RECIPE, stages=stages), run.path, stages).stages
    except CompressionError as error:
        problem = str(error)
        found = tuple(_without_recipe(artifact) for artifact in artifacts.values())
    if verify:
        found = tuple(_verified(stage, artifacts.get(stage.name)) for stage in found)
    return RunStatus(run.name, run.path, found, holder(run.path), problem)


def _without_recipe(artifact: Artifact) -> StagePlan:
    """Return what can be said of an artifact whose recipe cannot be read: that it is there, and whole."""
    try:
        return StagePlan(artifact.name, artifact.manifest.uses, "depends", ("on a recipe that cannot be read",))
    except ArtifactError as error:
        return StagePlan(artifact.name, "", "damaged", (str(error),))


def _verified(stage: StagePlan, artifact: Artifact | None) -> StagePlan:
    if artifact is None:
        return stage
    try:
        artifact.verify()
    except ArtifactError as error:
        return StagePlan(stage.name, stage.uses, "damaged", (str(error),))
    return stage
