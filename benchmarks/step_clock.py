"""Time the steps of any training loop from outside: when each training forward pass of its model begins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from torch import nn


class StepClock:
    """Notes when training forward passes of ``model`` begin; evaluation does not count."""

    def __init__(self, model: nn.Module) -> None:
        self.starts: list[float] = []
        self._handle = model.register_forward_pre_hook(self._note)

    def _note(self, module: nn.Module, arguments: Any) -> None:
        if module.training:
            self.starts.append(time.perf_counter())

    def step_seconds(self, warmup: int = 0) -> list[float]:
        """Return the seconds of each step after the first ``warmup``, from one forward pass to the next."""
        starts = self.starts[warmup:]
        return [end - begin for begin, end in pairwise(starts)]

    def close(self) -> None:
        """Take the hook out."""
        self._handle.remove()


def ratio_of_totals(times: Sequence[float], reference: Sequence[float]) -> float:
    """Return the total time over the reference's: what the wall clock says."""
    return sum(times) / sum(reference)


def median_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """Return the median over steps of the time over the reference's on the same batch: what a typical step says."""
    return median(own / other for own, other in zip(times, reference, strict=True))
