"""Masking units where they are read: the model that a condensed one must equal."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from pipeline.surgery.groups import PruningGroup, checked_plan, consumer_columns, dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept

Model = TypeVar("Model", bound=nn.Module)


def mask_units(model: Model, plan: KeepPlan) -> Model:
    """Return a copy of the model in which no removed unit is read: its columns of the consumer are zero.

    What a removed unit computes no longer matters, so this equals the condensed model for every activation function
    and whatever the biases are.
    """
    masked = copy.deepcopy(model)
    mask_in_place(masked, plan)
    return masked


@torch.no_grad()
def mask_in_place(model: nn.Module, plan: KeepPlan) -> None:
    """Do to the model itself what ``mask_units`` does to a copy."""
    groups = dissect(model)
    complete = checked_plan(groups, plan)
    for group in groups:
        weight = consumer_columns(model, group)
        removed = ~kept_features(complete[group.name], group, device=weight.device)
        weight.index_fill_(group.consumer_axis, removed.nonzero()[:, 0], 0.0)


def kept_features(kept: Kept, group: PruningGroup, *, device: torch.device | None = None) -> Tensor:
    """Return which columns of the group's consumer stay, ``(num_units * unit_size,)`` bool."""
    mask = torch.zeros(group.num_units, dtype=torch.bool, device=device)
    mask[list(kept.units)] = True
    return mask.repeat_interleave(group.unit_size)
