"""The costs of a model that does not exist yet: cut on the meta device, where there are shapes and no numbers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from pipeline.allowance import KINDS, Allowance, least_kept
from pipeline.forecast.units import Left, Units, spread
from pipeline.reporting.profile import MACS_ROWS, macs, parameters
from pipeline.surgery.architectures import encoder_parameters, num_dense_heads
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import Kind, dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.recipe.budget import BudgetSource, PruningConfig, StageBudget
    from pipeline.tasks.task import Task


@dataclass(frozen=True)
class Costs:
    """What a model costs, under the names that manifests use; None where training decides it.

    ``is_limit``: a budget bounds it, and the model is smaller by less than one unit: a channel, if any goes.
    """

    parameters: int | None
    macs: int | None
    encoder_sparsity: float | None
    is_limit: bool = False


class FirstModel:
    """A run's first model as every later one is cut from: its units, and what any number of them would cost.

    Which units of which layers stay changes no cost, as every head costs the same and so does every channel.
    """

    def __init__(self, model: PreTrainedModel, task: Task) -> None:
        self.model = model
        self.task = task
        self.num_dense_heads = num_dense_heads(model)
        self._empty = copy.deepcopy(model).to("meta")
        self._batch = _sizes(task)
        self._widths = {
            kind: tuple(group.num_units for group in dissect(model) if group.kind == kind) for kind in KINDS
        }

    def units(self) -> Left:
        """Return the units of the model itself."""
        return {kind: Units.of_layers(self._widths[kind]) for kind in KINDS}

    def keep_plan(self, left: Left) -> KeepPlan | None:
        """Return a plan that keeps so many units, the first of each layer; None where training sets how many."""
        plan: dict[str, Kept] = {}
        for kind in KINDS:
            units, groups = left[kind], [group for group in dissect(self._empty) if group.kind == kind]
            if units is None:
                return None
            counts = units.per_layer or spread(units.total, self._widths[kind])
            for group, count in zip(groups, counts, strict=True):
                plan[group.name] = Kept(group.num_units, tuple(range(count)))
        return KeepPlan(plan)

    def shapes(self, left: Left) -> PreTrainedModel | None:
        """Return a model with so many units left, its weights without numbers; None where training sets how many."""
        plan = self.keep_plan(left)
        if plan is None:
            return None
        is_whole = all(len(kept.units) == kept.of for kept in plan.values())
        return self._empty if is_whole else condense(self._empty, plan)

    def costs(self, left: Left) -> Costs | None:
        """Return what the model costs with so many units left; None where training sets how many."""
        model = self.shapes(left)
        if model is None:
            return None
        return Costs(
            parameters=parameters(model),
            macs=macs(model, self._batch),
            encoder_sparsity=1.0 - encoder_parameters(model) / encoder_parameters(self._empty),
        )

    def fitting(self, budget: BudgetSource, kind: Kind, left: Left) -> Units | None:
        """Return the units of ``kind`` that a budget allows beside those ``left`` of the other; None: not known yet."""
        own, others = left[kind], {other: units.total for other, units in left.items() if other != kind and units}
        if own is None or len(others) < len(KINDS) - 1:
            return None
        return Units(min(own.total, self._allowance(budget).fitting(kind, others)))

    def even_split(self, budget: StageBudget, config: PruningConfig) -> Units:
        """Return how many units the first of two stages may leave: the share of the budget, if the later one can."""
        allowance, groups = self._allowance(budget.target), dissect(self.model)
        configs = {config.prunes: config, **budget.to_come}
        others = {kind: count for kind, count in least_kept(groups, configs).items() if kind != config.prunes}
        total = sum(self._widths[config.prunes])
        return Units(min(total * allowance.limit // allowance.dense, allowance.fitting(config.prunes, others)))

    def limits(self, budget: BudgetSource) -> Costs:
        """Return what a budget says of the costs of a model that keeps to it, whichever units that takes."""
        allowance, whole = self._allowance(budget), self.costs(self.units())
        assert whole is not None
        assert whole.macs is not None
        assert whole.parameters is not None
        gone = allowance.dense - allowance.limit
        if budget.macs is not None:
            return Costs(None, whole.macs - gone, None, is_limit=True)
        return Costs(whole.parameters - gone, None, gone / (allowance.dense + allowance.fixed), is_limit=True)

    def _allowance(self, budget: BudgetSource) -> Allowance:
        return Allowance.of(self.model, None, budget, self.task)


def _sizes(task: Task) -> Mapping[str, Tensor]:
    """Return the rows on which manifests count; without the mask, whose values no shape depends on."""
    split = next(iter(task.validation.values()))
    batch = split.batch(range(min(MACS_ROWS, len(split))))
    return {name: value for name, value in batch.items() if name != "attention_mask"}
