"""One budget of multiply-accumulates shared between attention heads and FFN channels (Kwon et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.surgery.keep_plan import KeepPlan, Kept


def head_macs(*, num_tokens: int, hidden_size: int, head_dim: int) -> int:
    """Return the multiply-accumulates of one head on one row: its parts of q, k, v, o, its scores and its sums."""
    return 4 * num_tokens * hidden_size * head_dim + 2 * num_tokens**2 * head_dim


def channel_macs(*, num_tokens: int, hidden_size: int, num_matrices: int = 2) -> int:
    """Return the multiply-accumulates of one FFN channel on one row; a gated FFN has three matrices."""
    return num_matrices * num_tokens * hidden_size


def share_budget(
    heads: Mapping[str, Tensor],
    channels: Mapping[str, Tensor],
    *,
    macs_per_head: int,
    macs_per_channel: int,
    budget: int,
) -> KeepPlan:
    """Return the units that together matter most within ``budget`` multiply-accumulates, as the plan that keeps them.

    ``heads`` and ``channels`` hold by group the importance of every unit, ``(num_units,)``, not negative, and of one
    scale: what losing the unit does to the same loss. For each number of heads the most important ones are taken over
    all layers, and what is left of the budget is filled with the most important channels; the best of these sums wins,
    the one with fewer heads where two are equal. As every head costs the same, and every channel, no choice is better.
    """
    _check(heads, channels, macs_per_head, macs_per_channel, budget)
    head_order, head_sums = _ranked(heads)
    channel_order, channel_sums = _ranked(channels)
    num_heads = torch.arange(min(len(head_order), budget // macs_per_head) + 1)
    num_channels = ((budget - num_heads * macs_per_head) // macs_per_channel).clamp(max=len(channel_order))
    best = int((head_sums[num_heads] + channel_sums[num_channels]).argmax())
    kept_channels = channel_order[: int(num_channels[best])]
    return KeepPlan({**_kept(heads, head_order[:best]), **_kept(channels, kept_channels)})


def _ranked(importances: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the units of all groups in one row, most important first, and the sums of the first 0, 1, … of them."""
    values = torch.cat([torch.zeros(0, dtype=torch.float64), *(each.cpu().double() for each in importances.values())])
    order = torch.argsort(values, descending=True, stable=True)
    return order, torch.cat([torch.zeros(1, dtype=torch.float64), values[order].cumsum(dim=0)])


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
    heads: Mapping[str, Tensor], channels: Mapping[str, Tensor], macs_per_head: int, macs_per_channel: int, budget: int
) -> None:
    if macs_per_head < 1 or macs_per_channel < 1 or budget < 0:
        raise ValueError(
            "macs_per_head and macs_per_channel must be positive and budget not negative, "
            f"got {macs_per_head}, {macs_per_channel} and {budget}"
        )
    for name, values in {**heads, **channels}.items():
        if not bool((values >= 0).all()):
            raise ValueError(f"{name}: importances must be numbers and not negative, got {values.min():.4g}")
