"""A pruning stage under the recipe's budget: how many units it keeps, and a run of the stage that keeps just these."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pipeline.allowance import Allowance, least_kept
from pipeline.artifacts.commit import write_file
from pipeline.recipe.budget import PruningConfig, StageBudget
from pipeline.stage import StageContext, StageResult
from pipeline.surgery.groups import Kind, PruningGroup, dissect
from pipeline.training.processes import Processes
from stages.budget_search import share_budget
from stages.gate_importance import gate_importances

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

IMPORTANCES_FILE = "budget.safetensors"


@dataclass(frozen=True)
class Decided:
    """How many units of each kind the stage leaves room for, and the importances that it was judged by, if any were."""

    kept: Mapping[Kind, int]
    importances: Mapping[str, Tensor]


def within_budget(context: StageContext, run: Callable[[StageContext], StageResult]) -> StageResult:
    """Return what ``run`` makes of the context, its ``sparsity`` set to the number that the recipe's budget leaves.

    The first of the two stages that share a budget splits it: Kwon's search over gate importances of the model it
    starts from says how many heads and how many channels are best, and it takes its number of them. The last one, or
    the only one, takes all that the budget allows beside what is really there. Which units stay is decided in training,
    by the stage's own criterion. Raises ``RecipeError`` when it cannot remove as much as must go.
    """
    if context.budget is None:
        return run(context)
    config = context.config
    assert isinstance(config, PruningConfig), config
    model = context.load_model()
    groups = dissect(model)
    num_units = sum(group.num_units for group in groups if group.kind == config.prunes)
    decided = _decide(context, model, groups, context.budget)
    sparsity = 1.0 - decided.kept[config.prunes] / num_units if num_units else 0.0
    del model
    logger.info("%s: the budget leaves %s", context.name, _in_words(decided.kept))
    result = run(replace(context, config=config.model_copy(update={"sparsity": sparsity})))
    return replace(
        result,
        tensors={**result.tensors, **{f"budget.{name}": values for name, values in decided.importances.items()}},
        details={**result.details, "budget_units": dict(decided.kept)},
    )


def _decide(
    context: StageContext, model: PreTrainedModel, groups: tuple[PruningGroup, ...], budget: StageBudget
) -> Decided:
    config: PruningConfig = context.config
    allowance = Allowance.of(model, context.parent_keep_plan, budget.target, context.task)
    configs = {config.prunes: config, **budget.to_come}
    allowance.check(model, configs)
    if not budget.to_come:
        own = allowance.fitting(config.prunes, least_kept(groups, {config.prunes: config}))
        num_units = sum(group.num_units for group in groups if group.kind == config.prunes)
        return Decided({config.prunes: min(own, num_units)}, {})
    importances = _importances(context, model, groups, budget.target.rows)
    by_kind = {kind: {g.name: importances[g.name] for g in groups if g.kind == kind} for kind in configs}
    plan = share_budget(
        by_kind["heads"],
        by_kind["channels"],
        cost_per_head=allowance.costs["heads"],
        cost_per_channel=allowance.costs["channels"],
        budget=allowance.limit,
        least={g.name: configs[g.kind].least_kept(g.num_units) for g in groups},
    )
    kept = {kind: sum(len(plan[name].units) for name in by_group) for kind, by_group in by_kind.items()}
    told = json.loads(Processes().from_main(json.dumps(kept)))  # the last bits on a GPU may differ between processes
    return Decided(told, importances)


def _importances(
    context: StageContext, model: PreTrainedModel, groups: tuple[PruningGroup, ...], rows: int
) -> dict[str, Tensor]:
    """Return the gate importances, computed once and then kept with the half-done stage."""
    processes, path = Processes(), context.work_dir / IMPORTANCES_FILE
    known = _read(path)
    if known is not None:
        return known
    batch_size = context.config.batch_size
    model.to(processes.device)
    found = gate_importances(model, groups, context.task, rows=rows, seed=context.seed, batch_size=batch_size)
    if processes.is_main:
        context.work_dir.mkdir(parents=True, exist_ok=True)
        write_file(path, save(found))
    return found


def _read(path: Path) -> dict[str, Tensor] | None:
    try:
        return dict(load(path.read_bytes()))
    except (OSError, SafetensorError):
        return None


def _in_words(kept: Mapping[Kind, int]) -> str:
    return " and ".join(f"{count} {kind}" for kind, count in kept.items())
