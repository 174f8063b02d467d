"""What would run, and why: each stage's state, the field that changed, the stage it waits for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.run import Run
from pipeline.errors import RecipeError
from pipeline.runner.inspection import Inspector, StagePlan
from pipeline.runner.work import stages_to_ask

if TYPE_CHECKING:
    from pipeline.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """The stages asked for, in order; ``from_stage`` and ``until`` as they were asked."""

    recipe: Recipe
    run_dir: Path
    stages: tuple[StagePlan, ...]
    inspector: Inspector = field(repr=False, compare=False)
    from_stage: str | None = None
    until: str | None = None

    @property
    def first(self) -> int:
        """The index of the first stage that may run: that of ``from_stage``, else 0."""
        return stage_index(self.recipe, "from", self.from_stage) if self.from_stage is not None else 0

    @property
    def to_run(self) -> tuple[StagePlan, ...]:
        """The stages that will run, or may once those before them have."""
        return tuple(stage for stage in self.stages[self.first :] if stage.state != "fresh")

    @property
    def is_fresh(self) -> bool:
        """Whether there is nothing to do."""
        return not self.to_run


def build_plan(
    recipe: Recipe,
    run_dir: Path | str,
    stages: Mapping[str, Any],
    from_stage: str | None = None,
    until: str | None = None,
) -> Plan:
    """Return the state of every stage up to ``until``; nothing is written.

    Raises ``RecipeError`` for an unknown stage, or for ``from_stage`` whose parent or teacher has no artifact.
    """
    first = 0 if from_stage is None else stage_index(recipe, "from", from_stage)
    names = [stage.name for stage in recipe.stages]
    last = len(names) - 1 if until is None else stage_index(recipe, "until", until)
    if last < first:
        raise RecipeError(f"--until: must not come before --from {from_stage}, got {until}")
    run_dir = Path(run_dir)
    inspector = Inspector(recipe, Run.open(run_dir) if run_dir.is_dir() else Run(run_dir), stages)
    if from_stage is not None:
        _require_parents(inspector, first, last, from_stage)
    asked = [] if from_stage is None else stages_to_ask(inspector.run, names[first : last + 1])
    plans: list[StagePlan] = []
    unsettled: set[str] = set()
    for index in range(last + 1):
        if index == first:
            unsettled.clear()
        plan = inspector.inspect(index, unsettled)
        if plan.name in asked and plan.name in inspector.run:
            plan = replace(plan, state="stale", reasons=(f"redone by --from {from_stage}", *plan.reasons))
        if plan.state != "fresh":
            unsettled.add(plan.name)
        plans.append(plan)
    return Plan(recipe, run_dir, tuple(plans), inspector, from_stage, until)


def stage_index(recipe: Recipe, option: str, name: str) -> int:
    """Return the position of the stage ``name``; raises ``RecipeError`` for one the recipe does not have."""
    names = [stage.name for stage in recipe.stages]
    if name not in names:
        raise RecipeError(f"--{option}: must be a stage of the recipe ({', '.join(names)}), got {name}")
    return names.index(name)


def _require_parents(inspector: Inspector, first: int, last: int, from_stage: str) -> None:
    earlier: Collection[str] = {stage.name for stage in inspector.recipe.stages[:first]}
    found = inspector.run.artifacts()
    for index in range(first, last + 1):
        for needed in inspector.needed_stages(index):
            if needed in earlier and needed not in found:
                raise RecipeError(
                    f"--from: {from_stage} needs {needed}, which has no artifact in {inspector.run.path}; "
                    f"run without --from, or --from {needed}"
                )
