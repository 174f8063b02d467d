"""Exact selection of the lowest of many millions of scores, without sorting them: two histograms of the float's bits.

The bits of floats that are not negative, read as integers, are in the floats' order. The upper half of the bits finds
the bin in which a count is reached, the lower half within that bin the very score; equal ones are told apart by place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

HALF = 16
UPPER_BINS, LOWER_BINS = 1 << (31 - HALF), 1 << HALF
PIECE = 1 << 18
"""Scores looked at together on a CPU, so that they stay in its cache; an accelerator takes them all at once."""


@dataclass(frozen=True)
class Threshold:
    """Everything of fewer ``bits`` goes, and the first ``ties`` of those that have exactly these, of ``equal``."""

    bits: int
    ties: int
    equal: int


class Ranking:
    """The scores of one layer in order of their place, as the bits of floats that are not negative.

    ``piece(begin, end)`` returns those places, int32; it is asked for each several times, so that what is cheap to
    compute need not be held.
    """

    def __init__(self, count: int, device: torch.device, piece: Callable[[int, int], Tensor]) -> None:
        self.count = count
        self._device = device
        self._piece = piece
        self._upper: Tensor | None = None
        self._lower: tuple[int, Tensor] | None = None

    def upper(self) -> Tensor:
        """Return how many scores lie in each bin of the upper bits, ``(UPPER_BINS,)`` int64 on the CPU."""
        if self._upper is None:
            self._upper = self._counted(lambda bits: bits >> HALF, UPPER_BINS)
        return self._upper

    def lower(self, upper: int) -> Tensor:
        """Return how many scores of the bin ``upper`` lie in each bin of the lower bits, ``(LOWER_BINS,)`` int64."""
        if self._lower is None or self._lower[0] != upper:
            first = upper << HALF
            # What lies outside the bin is counted at both ends and dropped: cheaper than picking the bin out.
            counts = self._counted(lambda bits: (bits - first).clamp_(-1, LOWER_BINS).add_(1), LOWER_BINS + 2)
            self._lower = upper, counts[1:-1]
        return self._lower[1]

    def threshold(self, count: int) -> Threshold:
        """Return where the ``count`` lowest scores end, of which there must be one at least."""
        upper, below = _reached(self.upper(), count)
        lower, within = _reached(self.lower(upper), count - below)
        equal = int(self.lower(upper)[lower])
        return Threshold((upper << HALF) + lower, count - below - within, equal)

    def keep(self, count: int) -> Tensor:
        """Return all but the ``count`` lowest, ``(count of scores,)`` bool; of equal scores the first go."""
        kept = torch.ones(self.count, dtype=torch.bool, device=self._device)
        if count == 0:
            return kept
        if count == self.count:
            return kept.zero_()
        limit = self.threshold(count)
        ties = limit.ties
        for begin, bits in self._bits():
            part = kept[begin : begin + len(bits)]
            if limit.ties == limit.equal:
                torch.gt(bits, limit.bits, out=part)
                continue
            torch.ge(bits, limit.bits, out=part)
            if ties:
                first = (bits == limit.bits).nonzero()[:ties, 0]
                part[first] = False
                ties -= len(first)
        return kept

    def _bits(self) -> Iterator[tuple[int, Tensor]]:
        piece = PIECE if self._device.type == "cpu" else self.count
        for begin in range(0, self.count, piece):
            yield begin, self._piece(begin, min(begin + piece, self.count))

    def _counted(self, bin_of: Callable[[Tensor], Tensor], num_bins: int) -> Tensor:
        counts = torch.zeros(num_bins, dtype=torch.int64, device=self._device)
        for _, bits in self._bits():
            counts += torch.bincount(bin_of(bits), minlength=num_bins)
        return counts.cpu()


def float_order(scores: Tensor) -> Tensor:
    """Return integers, int32, that are ordered as the floats, float32 and not negative, are.

    The next integer lies between a score and the next larger one, so adding 1 for what is kept lets what is not go
    first among equal scores: where gradients vanish many are zero, and no weight should fall for one that has fallen.
    """
    return scores.contiguous().view(torch.int32)


def _reached(counts: Tensor, wanted: int) -> tuple[int, int]:
    """Return the first bin with which ``wanted`` is reached, and how many lie in the bins before it."""
    total = counts.cumsum(0)
    bin_index = int(torch.searchsorted(total, wanted))
    return bin_index, int(total[bin_index] - counts[bin_index])
