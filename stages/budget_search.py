"""One budget shared between attention heads and FFN channels (Kwon et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.surgery.keep_plan import KeepPlan, Kept


def share_budget(
    heads: Mapping[str, Tensor],
    channels: Mapping[str, Tensor],
    *,
    cost_per_head: int,
    cost_per_channel: int,
    budget: int,
    least: Mapping[str, int] | None = None,
) -> KeepPlan:
    """Return the units that together matter most and cost at most ``budget``, as the plan that keeps them.

    Costs are multiply-accumulates, or parameters. ``heads`` and ``channels`` hold by group the importance of every
    unit, ``(num_units,)``, not negative, and of one scale: what losing the unit does to the same loss. For each number
    of heads the most important ones are taken over all layers, and what is left of the budget is filled with the most
    important channels; the best of these sums wins, the one with fewer heads where two are equal. As every head costs
    the same, and every channel, no choice is better.

    Each group keeps at least its number in ``least``; raises ``ValueError`` where that alone is over the budget.
    """
    _check(heads, channels, cost_per_head, cost_per_channel, budget)
    head_order, head_sums, least_heads = _ranked(heads, least or {})
    channel_order, channel_sums, least_channels = _ranked(channels, least or {})
    most_heads = min(len(head_order), (budget - least_channels * cost_per_channel) // cost_per_head)
    if most_heads < least_heads:
        spent = least_heads * cost_per_head + least_channels * cost_per_channel
        raise ValueError(f"budget must be at least {spent}, what the units cost that have to stay, got {budget}")
    num_heads = torch.arange(least_heads, most_heads + 1)
    num_channels = ((budget - num_heads * cost_per_head) // cost_per_channel).clamp(max=len(channel_order))
    best = int((head_sums[num_heads] + channel_sums[num_channels]).argmax())
    kept_heads, kept_channels = head_order[: int(num_heads[best])], channel_order[: int(num_channels[best])]
    return KeepPlan({**_kept(heads, kept_heads), **_kept(channels, kept_channels)})


def _ranked(importances: Mapping[str, Tensor], least: Mapping[str, int]) -> tuple[Tensor, Tensor, int]:
    """Return the units of all groups in one row, most important first, the sums of the first 0, 1, … of them, and how
    many have to stay: those come before all others, the ``least`` most important of each group.
    """
    values = torch.cat([torch.zeros(0, dtype=torch.float64), *(each.cpu().double() for each in importances.values())])
    has_to_stay = torch.cat(
        [torch.zeros(0, dtype=torch.bool), *(_first(each, least.get(name, 0)) for name, each in importances.items())]
    )
    order = torch.argsort(values, descending=True, stable=True)
    order = torch.cat([order[has_to_stay[order]], order[~has_to_stay[order]]])
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), values[order].cumsum(dim=0)])
    return order, sums, int(has_to_stay.sum())


def _first(importances: Tensor, count: int) -> Tensor:
    """Return which units are the ``count`` most important ones, ``(num_units,)`` bool."""
    chosen = torch.zeros(len(importances), dtype=torch.bool)
    chosen[torch.argsort(importances.cpu().double(), descending=True, stable=True)[:count]] = True
    return chosen


def _kept(importances: Mapping[str, Tensor], chosen: Tensor) -> dict[str, Kept]:
    """Return by group which units are among ``chosen``, places in the row of all groups."""
    mask = torch.zeros(sum(len(each) for each in importances.values()), dtype=torch.bool)
    mask[chosen] = True
    parts = torch.split(mask, [len(each) for each in importances.values()])
    return {
        name: Kept(len(part), tuple(part.nonzero().flatten().tolist()))
        for name, part in zip(importances, parts, strict=True)
    }


def _check(
    heads: Mapping[str, Tensor], channels: Mapping[str, Tensor], cost_per_head: int, cost_per_channel: int, budget: int
) -> None:
    if cost_per_head < 1 or cost_per_channel < 1 or budget < 0:
        raise ValueError(
            "cost_per_head and cost_per_channel must be positive and budget not negative, "
            f"got {cost_per_head}, {cost_per_channel} and {budget}"
        )
    for name, values in {**heads, **channels}.items():
        if not bool((values >= 0).all()):
            raise ValueError(f"{name}: importances must be numbers and not negative, got {values.min():.4g}")
