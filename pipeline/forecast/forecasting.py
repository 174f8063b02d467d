"""Puts a forecast together: a row per stage, and one for the model it all begins with."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.fingerprint import derive_seed
from pipeline.errors import RecipeError
from pipeline.forecast.costs import Costs, FirstModel
from pipeline.forecast.schedule import Amount, training_amount
from pipeline.forecast.units import Left, Touched, UnitsLeft
from pipeline.runner.workbench import Workbench

if TYPE_CHECKING:
    from pipeline.recipe import Recipe, StageRecipe
    from pipeline.recipe.budget import StageBudget
    from pipeline.runner import Plan

FIRST = "first model"
UNKNOWN: Left = {"heads": None, "channels": None}
EVEN = "  (widths that training sets are shown as if every layer kept as many)"


@dataclass(frozen=True)
class StageForecast:
    """One stage: the ``costs`` of its model (None: set by training), what it trains on, and the seconds it may take.

    ``notes`` tell what it touches, where it leaves every shape as it is.
    """

    stage: str
    costs: Costs | None
    amount: Amount | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


def forecast(
    plan: Plan, forecasts: Mapping[str, UnitsLeft], *, with_time: bool, touched: Mapping[str, Touched] | None = None
) -> list[StageForecast]:
    """Return a row for the first model and one for each stage of the plan; ``with_time`` times a few of their steps.

    Data and first model are loaded; nothing is written to the run. ``touched`` holds by what a stage ``uses`` how it
    tells what it touches. Raises ``RecipeError`` where that does not fit the model.
    """
    inspector = plan.inspector
    bench = Workbench(inspector, None)
    bench.prepare_first_model()
    first = FirstModel(bench.parent_loader(0)(), bench.task)
    lefts = stage_units(plan, first, forecasts)
    seconds: list[float | None] = [None] * len(plan.stages)
    if with_time:
        from pipeline.forecast.timing import estimate_stages

        with tempfile.TemporaryDirectory() as folder:
            likely = stage_units(plan, first, forecasts, guesses=True)
            seconds = list(estimate_stages(bench, first, likely, Path(folder)))
    rows = [StageForecast(FIRST, first.costs(first.units()))]
    for index, spent in enumerate(seconds):
        stage = inspector.recipe.stages[index]
        amount = training_amount(stage.config, bench.task, derive_seed(inspector.recipe.seed, stage.name))
        costs = first.costs(lefts[index + 1]) or _limits(inspector.recipe, first, index)
        notes = _notes(first, stage, lefts[index], (touched or {}).get(stage.uses))
        rows.append(StageForecast(stage.name, costs, amount, spent, notes))
    return rows


def _notes(first: FirstModel, stage: StageRecipe, before: Left, tell: Touched | None) -> tuple[str, ...]:
    """Return what a stage says it will touch of the model before it; a width that is not known counts as even."""
    if tell is None:
        return ()
    model = first.shapes(before)
    if model is None:
        return ("what it touches depends on the widths that training sets before it",)
    try:
        lines = tuple(tell(stage.config, model))
    except ValueError as error:
        raise RecipeError(f"stages.{stage.name}.{error}") from None
    is_known = all(units is not None and units.per_layer is not None for units in before.values())
    return lines if is_known else (*lines, EVEN)


def stage_units(
    plan: Plan, first: FirstModel, forecasts: Mapping[str, UnitsLeft], *, guesses: bool = False
) -> list[Left]:
    """Return the units of the first model, and those after each stage of the plan.

    With ``guesses`` a budget whose split training decides counts as split evenly: near enough to time the stages.
    """
    lefts = [first.units()]
    recipe = plan.inspector.recipe
    for index, stage in enumerate(recipe.stages[: len(plan.stages)]):
        tell, budget = forecasts.get(stage.uses), recipe.stage_budget(index)
        if budget is not None:
            lefts.append(_within(budget, stage.config, first, lefts[-1], guesses=guesses))
        else:
            lefts.append(UNKNOWN if tell is None else tell(stage.config, lefts[-1], first.num_dense_heads))
    return lefts


def _within(budget: StageBudget, config: Any, first: FirstModel, before: Left, *, guesses: bool) -> Left:
    """Return the units after a stage that shares the budget: what fits, unless the split is still to be decided."""
    if not budget.to_come:
        return {**before, config.prunes: first.fitting(budget.target, config.prunes, before)}
    return {**before, config.prunes: first.even_split(budget, config) if guesses else None}


def _limits(recipe: Recipe, first: FirstModel, index: int) -> Costs | None:
    """Return what the budget says of the model after the stage at ``index``, if no later one shares it."""
    if recipe.budget is None or recipe.pruning_from(index + 1):
        return None
    return first.limits(recipe.budget)
