"""From scores to masks: by a soft threshold, or to an exact number of heads removed."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.prune_heads.layout import Layout
from stages.prune_heads.rule import death_ranks, live_heads
from stages.unit_weights import lowest_first


def below_threshold(scores: Tensor, layout: Layout, *, threshold: float, min_heads: int) -> Tensor:
    """Return the blocks whose score's sigmoid is not above ``threshold``, ``(num_blocks,)`` bool.

    Where that leaves a layer with fewer than ``min_heads`` live heads, the last of them to die are spared whole.
    """
    dead = torch.sigmoid(scores) <= threshold if threshold > 0 else torch.zeros_like(scores, dtype=torch.bool)
    if min_heads == 0:
        return dead
    live = live_heads(layout.of_heads(~dead))
    deaths = death_ranks(layout.of_heads(_ranks(scores)))
    return dead & ~layout.gather(_last_to_die(deaths, layout, min_heads) & ~live)


def lowest_blocks(scores: Tensor, layout: Layout, *, num_heads: int, min_heads: int) -> Tensor:
    """Return the lowest-scored blocks, as few as it takes for exactly ``num_heads`` heads to be gone by NNI's rule.

    Every head dies with one block, no two with the same, so any number is hit, ties included. The last ``min_heads``
    to die in each layer are passed over, and spared whole if it came to that.
    """
    if num_heads == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    ranks = _ranks(scores)
    deaths = death_ranks(layout.of_heads(ranks))
    spared = _last_to_die(deaths, layout, min_heads)
    last = deaths[~spared].sort().values[num_heads - 1]
    dead = ranks <= last
    return dead & ~layout.gather(spared & (deaths <= last)) if min_heads else dead


def _ranks(scores: Tensor) -> Tensor:
    order = lowest_first(scores)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device)
    return ranks


def _last_to_die(deaths: Tensor, layout: Layout, num: int) -> Tensor:
    """Return the ``num`` heads of each layer with the highest death ranks, ``(num_heads,)`` bool."""
    last = torch.zeros_like(deaths, dtype=torch.bool)
    for part in layout.groups:
        order = deaths[part.heads].argsort(descending=True)[:num]
        last[order + part.heads.start] = True
    return last
