"""Finds a run under another name that already holds what a recipe makes, as after a change of the recipe's name."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass

from pipeline.artifacts.layout import RECIPE
from pipeline.artifacts.lock import holder
from pipeline.artifacts.run import Run
from pipeline.errors import ArtifactError
from pipeline.runner.planning import Plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Twin:
    """Another run in the same folder, and the stages it holds just as the recipe makes them."""

    run: Run
    stages: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether it holds nothing else, so that it can be this run under its old name."""
        return set(self.run.artifacts()) == set(self.stages)


def find_twin(plan: Plan) -> Twin | None:
    """Return the run that holds most of the plan's stages; None for a plan whose own run holds any. Reads manifests."""
    if plan.inspector.run.artifacts() or not plan.run_dir.parent.is_dir():
        return None
    twins = []
    for folder in sorted(plan.run_dir.parent.iterdir()):
        if folder != plan.run_dir and (folder / RECIPE).is_file() and holder(folder) is None:
            run = Run(folder)
            try:
                twins.append(Twin(run, tuple(plan.inspector.stages_held_by(run))))
            except ArtifactError:  # a damaged run is nobody's twin
                continue
    best = max(twins, key=lambda twin: len(twin.stages), default=None)
    return best if best is not None and best.stages else None


def tell_of_twin(plan: Plan, *, begins: bool) -> None:
    """Log in one line, if there is a twin, the command that takes its stages; ``begins``: the run starts now."""
    twin = find_twin(plan)
    if twin is None:
        return
    there, here = shlex.quote(str(twin.run.path)), shlex.quote(str(plan.run_dir))
    command = f"mv {there} {here}" if twin.is_whole else f"cp -r {there} {here}"
    if begins or plan.run_dir.exists():
        command = f"rm -r {here} && {command}"
    logger.info(
        "%s holds %s as this recipe makes %s; to take over what is there%s: %s",
        there,
        ", ".join(twin.stages),
        "it" if len(twin.stages) == 1 else "them",
        ", stop this run and" if begins else "",
        command,
    )
