"""N of M: which weights of each group would go, and what they are worth together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.sparsify.ranking import float_order

FEW = 8
"""Up to so many weights of a group are ordered by comparing each with each, which is faster than sorting them."""
GROUPS = 1 << 16
"""Groups that a CPU looks at together: enough for its threads, few enough for its cache; an accelerator takes all."""
WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers of as many bytes: so many booleans are looked at as one number."""


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

    ``entries`` and ``kept`` are ``(groups, members)``.
    """
    groups, members = entries.shape
    size = min(GROUPS, groups) if entries.device.type == "cpu" else groups
    ranks = Comparisons(size, members, entries.device).ranks if members <= FEW else _ranks_by_sorting
    lowest, worth, is_whole = [], [], []
    for entry, is_kept in zip(torch.split(entries, size), torch.split(kept, size), strict=True):
        goes = ranks(float_order(entry) + is_kept.view(torch.uint8)) < number
        lowest.append(goes)
        worth.append((entry * goes).sum(1))
        is_whole.append(_all_of(is_kept))
    return Lowest(torch.cat(lowest), torch.cat(worth), torch.cat(is_whole))


class Comparisons:
    """Ranks within groups of ``members`` that lie beside each other: of ``groups`` groups at most at a time."""

    def __init__(self, groups: int, members: int, device: torch.device) -> None:
        self.members = members
        self.places = torch.arange(members, dtype=torch.uint8, device=device).repeat(groups)
        self.within = {distance: self.places < members - distance for distance in range(1, members)}

    def ranks(self, order: Tensor) -> Tensor:
        """Return the rank of each entry in its row: how many are lower, or as low and before it.

        An entry is compared with those after it, all entries at once, by comparing ``order`` with itself moved; what
        would compare one group with the next does not count.
        """
        flat = order.flatten()
        ranks = self.places[: len(flat)].clone()
        for distance, within in self.within.items():
            is_lower = (flat[distance:] < flat[:-distance]).logical_and_(within[: len(flat) - distance])
            ranks[:-distance] += is_lower.view(torch.uint8)
            ranks[distance:] -= is_lower.view(torch.uint8)
        return ranks.view(order.shape)


def _ranks_by_sorting(order: Tensor) -> Tensor:
    """Return the rank of each entry in its row."""
    return order.argsort(dim=1, stable=True).argsort(dim=1)


def _all_of(kept: Tensor) -> Tensor:
    """Return of which rows everything is kept; rows of few booleans are read as one number each."""
    members = kept.shape[1]
    if members not in WORDS:
        return kept.all(1)
    return kept.contiguous().view(WORDS[members]).flatten() == int.from_bytes(bytes([1] * members), "little")
