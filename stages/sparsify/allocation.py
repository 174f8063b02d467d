"""How many blocks each layer loses, so that the domain loses exactly its share within every layer's limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.sparsify.ranking import Ranking

ROUNDING = 1e-6
"""Products of shares and counts that are whole but for a float's rounding are taken as whole."""


@dataclass(frozen=True)
class Room:
    """One layer: how many blocks it has, how many weights become zero with each, and how many may and must go."""

    count: int
    loss: int
    least: int
    most: int


def rooms(layers: Sequence[tuple[int, int, int]], *, target: int, min_share: float, max_share: float) -> list[Room]:
    """Return the limits of layers given as ``(blocks, weights lost with a block, weights)``, for ``target`` weights.

    The shares are of a layer's weights. They are kept to the letter where that leaves room for ``target``, else to
    one block of each layer, of which a cap below 1 always leaves something.
    """

    def limits(share: float, up: bool) -> list[int]:
        exact = [share * size / loss for _, loss, size in layers]
        whole = [math.ceil(value - ROUNDING) if up else math.floor(value + ROUNDING) for value in exact]
        return [min(count, number) for number, (count, _, _) in zip(whole, layers, strict=True)]

    def total(counts: Sequence[int]) -> int:
        return sum(number * loss for number, (_, loss, _) in zip(counts, layers, strict=True))

    most = limits(max_share, up=False)
    if total(most) < target and max_share < 1.0:
        spared = [int(count * loss == size) for count, loss, size in layers]
        raised = zip(limits(max_share, up=True), spared, layers, strict=True)
        most = [min(count - left, high) for high, left, (count, _, _) in raised]
    least = limits(min_share, up=True)
    if total(least) > target:
        least = limits(min_share, up=False)
    return [
        Room(count, loss, min(low, high), high) for (count, loss, _), low, high in zip(layers, least, most, strict=True)
    ]


def ranked_counts(rankings: Sequence[Ranking], limits: Sequence[Room], target: int) -> list[int]:
    """Return how many blocks of each layer are among the lowest of all, ``target`` weights in sum, to one block.

    What a layer cannot give falls on the next scores of the others; equal scores go layer by layer in their order.
    """
    if target <= sum(room.least * room.loss for room in limits):
        return [room.least for room in limits]
    if target >= sum(room.most * room.loss for room in limits):
        return [room.most for room in limits]
    upper = torch.stack([ranking.upper() for ranking in rankings]).cumsum_(1)
    at = _first_reaching(upper, limits, target)
    before = upper[:, at - 1] if at else torch.zeros(len(limits), dtype=torch.int64)
    lower = torch.stack([ranking.lower(at) for ranking in rankings]).cumsum_(1).add_(before[:, None])
    at = _first_reaching(lower, limits, target)
    less = _within(lower[:, at - 1] if at else before, limits)
    return _with_ties(less, _within(lower[:, at], limits), limits, target)


def even_counts(limits: Sequence[Room], target: int) -> list[int]:
    """Return the same share of blocks for every layer within its limits, ``target`` weights in sum, to one block.

    Shares are whole numbers of blocks by largest remainder.
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if sum(room.loss * wanted for room, wanted in zip(limits, _wanted(limits, middle), strict=True)) < target:
            low = middle
        else:
            high = middle
    wanted = _wanted(limits, high)
    counts = [math.floor(value + ROUNDING) for value in wanted]
    order = sorted(range(len(limits)), key=lambda index: counts[index] - wanted[index])
    upto = [min(room.most, count + 1) for room, count in zip(limits, counts, strict=True)]
    taken = _with_ties([counts[i] for i in order], [upto[i] for i in order], [limits[i] for i in order], target)
    return [count for _, count in sorted(zip(order, taken, strict=True))]


def _wanted(limits: Sequence[Room], share: float) -> list[float]:
    return [min(room.most, max(room.least, share * room.count)) for room in limits]


def _within(counts: Tensor, limits: Sequence[Room]) -> list[int]:
    """Return counts ``(layers,)`` brought within each layer's limits."""
    return [min(room.most, max(room.least, count)) for room, count in zip(limits, counts.tolist(), strict=True)]


def _first_reaching(counts: Tensor, limits: Sequence[Room], target: int) -> int:
    """Return the first bin up to which ``target`` weights go, of cumulative counts ``(layers, bins)``."""
    low, high = 0, counts.shape[1] - 1
    while low < high:
        middle = (low + high) // 2
        within = _within(counts[:, middle], limits)
        if sum(room.loss * count for room, count in zip(limits, within, strict=True)) < target:
            low = middle + 1
        else:
            high = middle
    return low


def _with_ties(less: Sequence[int], upto: Sequence[int], limits: Sequence[Room], target: int) -> list[int]:
    """Return counts between ``less`` and ``upto`` that come to ``target`` weights, to half a block at the last one."""
    counts, missing = list(less), target - sum(room.loss * count for room, count in zip(limits, less, strict=True))
    for index, room in enumerate(limits):
        more = min(upto[index] - counts[index], max(0, missing) // room.loss)
        counts[index] += more
        missing -= more * room.loss
    for index, room in enumerate(limits):
        if counts[index] < upto[index] and 2 * missing >= room.loss:
            counts[index] += 1
            missing -= room.loss
    return counts
