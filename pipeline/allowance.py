"""What a budget allows: how many heads and channels may stay, in whole numbers, of models cut so far or not at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch

from pipeline.errors import RecipeError
from pipeline.reporting.profile import MACS_ROWS
from pipeline.surgery.architectures import encoder_parameters, layer_prefixes
from pipeline.surgery.equality import evaluation_mode
from pipeline.surgery.groups import Kind, PruningGroup, dissect
from pipeline.surgery.unit_costs import unit_macs, unit_parameters

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from pipeline.recipe.budget import BudgetSource, PruningConfig
    from pipeline.surgery.keep_plan import KeepPlan
    from pipeline.tasks.task import Task

KINDS: tuple[Kind, ...] = ("heads", "channels")
Counts = Mapping[Kind, int]
"""A number of units of each kind, over all layers."""


@dataclass(frozen=True)
class Allowance:
    """A budget in the unit it is counted in, multiply-accumulates of a row or parameters.

    ``costs`` is what one unit of each kind costs, ``limit`` what all units that stay may cost together, ``dense``
    what all units of the first model cost, ``fixed`` what the layers cost beside them.
    """

    target: BudgetSource
    costs: Counts
    limit: int
    dense: int
    fixed: int

    @classmethod
    def of(cls, model: PreTrainedModel, before: KeepPlan | None, target: BudgetSource, task: Task) -> Allowance:
        """Return what ``target`` allows of the first model, given one cut from it by the plan ``before``."""
        groups = dissect(model)
        first = {group.name: before[group.name].of if before and group.name in before else None for group in groups}
        widths = {group.name: first[group.name] or group.num_units for group in groups}
        num_tokens = None if target.macs is None else report_tokens(model, task)
        costs = {kind: _unit_cost(model, groups, kind, num_tokens) for kind in KINDS}
        dense = sum(costs[group.kind] * widths[group.name] for group in groups)
        if target.macs is not None:
            return cls(target, costs, limit=math.floor(_exact(target.macs) * dense), dense=dense, fixed=0)
        now = sum(costs[group.kind] * group.num_units for group in groups)
        fixed = encoder_parameters(model) - now
        assert target.encoder_sparsity is not None, "a budget has one target"
        gone = math.ceil(_exact(target.encoder_sparsity) * (dense + fixed))
        return cls(target, costs, limit=dense - gone, dense=dense, fixed=fixed)

    def fitting(self, kind: Kind, others: Counts) -> int:
        """Return how many units of ``kind`` there is room for beside ``others``; below zero where there is none."""
        taken = sum(self.costs[other] * count for other, count in others.items() if other != kind)
        return (self.limit - taken) // self.costs[kind]

    def check(self, model: PreTrainedModel, configs: Mapping[Kind, PruningConfig]) -> None:
        """Raise ``RecipeError`` unless the stages of these ``configs`` may remove as much from ``model`` as must go."""
        least = sum(self.costs[kind] * count for kind, count in least_kept(dissect(model), configs).items())
        if least <= self.limit:
            return
        floors = ", ".join(f"{config.floor} {getattr(config, config.floor)}" for config in configs.values())
        if self.target.macs is not None:
            share = math.ceil(Fraction(least, self.dense) * 10**4) / 10**4
            allowed = f"budget.macs: must be at least {share:.4g}"
        else:
            share = math.floor(Fraction(self.dense - least, self.dense + self.fixed) * 10**4) / 10**4
            allowed = f"budget.encoder_sparsity: must be at most {share:.4g}"
        raise RecipeError(
            f"{allowed}, for stages that prune {' and '.join(configs)} with {floors} can do no more, "
            f"got {self.target.macs or self.target.encoder_sparsity}"
        )


def least_kept(groups: tuple[PruningGroup, ...], configs: Mapping[Kind, PruningConfig]) -> dict[Kind, int]:
    """Return how many units of each kind stay at least; all, where no stage of ``configs`` prunes that kind."""
    kept = dict.fromkeys(KINDS, 0)
    for group in groups:
        config = configs.get(group.kind)
        kept[group.kind] += group.num_units if config is None else config.least_kept(group.num_units)
    return kept


def report_tokens(model: PreTrainedModel, task: Task) -> int:
    """Return how many tokens a row has, padding included, where the report counts its multiply-accumulates."""
    split = next(iter(task.validation.values()))
    batch = split.batch(range(min(MACS_ROWS, len(split))))
    found: list[int] = []

    def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(inputs[0].shape[1])

    handle = model.get_submodule(layer_prefixes(model)[0]).register_forward_pre_hook(see)
    try:
        with evaluation_mode(model), torch.no_grad():
            model(**{name: value[:1].to(model.device) for name, value in batch.items()})
    finally:
        handle.remove()
    return found[0]


def _unit_cost(model: nn.Module, groups: tuple[PruningGroup, ...], kind: Kind, num_tokens: int | None) -> int:
    """Return what one unit of ``kind`` costs: parameters, or multiply-accumulates where ``num_tokens`` are given."""
    own = [group for group in groups if group.kind == kind]
    found = {unit_parameters(model, g) if num_tokens is None else unit_macs(model, g, num_tokens) for g in own}
    assert len(found) == 1, f"{kind} of all layers cost the same, got {sorted(found)}"
    return found.pop()


def _exact(share: float) -> Fraction:
    """Return the share as it is written, 0.15 and not the nearest binary number."""
    return Fraction(repr(share))
