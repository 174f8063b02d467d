"""How many units each group loses: by shares of its own, or by one ranking over all groups; always exact."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stages.unit_weights import lowest_first


def local_counts(widths: Mapping[str, int], shares: Mapping[str, float], progress: float) -> dict[str, int]:
    """Return how many units of each group go when each loses ``progress`` of its own share."""
    return {name: round(progress * share_count(width, shares[name])) for name, width in widths.items()}


def global_counts(importances: Mapping[str, Tensor], num_removed: int, most: Mapping[str, int]) -> dict[str, int]:
    """Return how many units of each group are among the ``num_removed`` least important of all groups together.

    No group loses more than ``most`` allows; what it cannot take falls on the others. Raises ``ValueError`` when the
    groups together cannot lose so many.
    """
    if num_removed > sum(most.values()):
        raise ValueError(f"only {sum(most.values())} units may go within the caps per group, got {num_removed}")
    owners, values = [], []
    for index, (name, importance) in enumerate(importances.items()):
        open_to_removal = importance.sort(stable=True).values[: most[name]]
        owners.append(torch.full((len(open_to_removal),), index))
        values.append(open_to_removal)
    removed = torch.cat(owners)[lowest_first(torch.cat(values))[:num_removed]]
    counts = torch.bincount(removed, minlength=len(importances)).tolist()
    return dict(zip(importances, counts, strict=True))


def share_count(width: int, share: float) -> int:
    """Return the whole number of units nearest to ``share`` of ``width``."""
    return round(share * width)


def kept_multiple(count: int, width: int, multiple: int) -> int:
    """Return ``count`` lowered until ``width - count`` is a multiple of ``multiple``, or nothing goes at all."""
    kept = -(-(width - count) // multiple) * multiple
    return max(0, width - kept)
