"""N of M: which weights of each group would go, and what they are worth together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.sparsify.ranking import float_order

FEW = 8
"""Up to so many weights of a group are ordered by comparing each with each, which is faster than sorting them."""
GROUPS = 1 << 16
"""Groups that are looked at together, so that they stay in a processor's cache."""


@dataclass(frozen=True)
class Lowest:
    """Of each group: which weights are ``lowest``, their ``worth`` together, and whether none of it is masked yet.

    ``lowest`` is ``(groups, members)`` bool, ``worth`` ``(groups,)`` float32, ``is_whole`` ``(groups,)`` bool.
    """

    lowest: Tensor
    worth: Tensor
    is_whole: Tensor


def lowest_of_each(entries: Tensor, kept: Tensor, number: int) -> Lowest:
    """Return the ``number`` lowest of each group; of equal entries those not kept go first, then the first.

    ``entries`` and ``kept`` are ``(groups, members)``. A piece of them at a time is turned so that members lie far
    apart: a loop over the few members of a group then runs over many groups at once.
    """
    lowest = torch.empty(entries.shape, dtype=torch.bool, device=entries.device)
    worth = torch.empty(len(entries), device=entries.device)
    is_whole = torch.empty(len(entries), dtype=torch.bool, device=entries.device)
    ranks = _ranks_by_comparing if entries.shape[1] <= FEW else _ranks_by_sorting
    for begin in range(0, len(entries), GROUPS):
        piece = slice(begin, begin + GROUPS)
        members, are_kept = entries[piece].t().contiguous(), kept[piece].t().contiguous()
        goes = ranks(float_order(members) + are_kept) < number
        lowest[piece] = goes.t()
        torch.sum(members * goes, 0, out=worth[piece])
        torch.all(are_kept, 0, out=is_whole[piece])
    return Lowest(lowest, worth, is_whole)


def _ranks_by_sorting(members: Tensor) -> Tensor:
    """Return the rank of each entry in its column, ``(members, groups)``."""
    return members.argsort(dim=0, stable=True).argsort(dim=0)


def _ranks_by_comparing(members: Tensor) -> Tensor:
    """Return the rank of each entry in its column: how many are lower, or as low and before it."""
    ranks = torch.zeros(members.shape, dtype=torch.uint8, device=members.device)
    ranks += torch.arange(len(members), dtype=torch.uint8, device=members.device)[:, None]
    for first, second in itertools.combinations(range(len(members)), 2):
        is_lower = (members[second] < members[first]).view(torch.uint8)
        ranks[first] += is_lower
        ranks[second] -= is_lower
    return ranks
