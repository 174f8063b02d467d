"""Bytes that tensors and objects hold, apart from what the process keeps of freed memory and compiled kernels.

The resident set grows up to a bound while a process trains, whatever it trains on, for freed memory and oneDNN's
kernels are kept on purpose (pipeline/training/memory.py). Whether memory is flat shows in what is not free.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch

from pipeline.training.stepper import Stepper

FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo(ctypes.Structure):
    """The ``struct mallinfo2`` of glibc 2.33 and later: see mallinfo2(3)."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


@dataclass
class InUse:
    """The most bytes in use that were seen: between two steps, and in one, before and after its backward pass."""

    between_steps: int = 0
    in_a_step: int = 0


def bytes_in_use() -> int:
    """Return the bytes that the C library has given out and not got back, and those of the device's tensors.

    0 of the former where the C library does not tell: only glibc does.
    """
    on_device = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError, TypeError):
        return on_device
    mallinfo.restype = _Mallinfo
    found = mallinfo()
    return int(found.uordblks) + int(found.hblkhd) + on_device


@contextmanager
def watched() -> Iterator[InUse]:
    """Watch what the steps of the pipeline's loop hold inside the block."""
    seen = InUse()
    step, backward = Stepper.step, torch.autograd.backward

    def watched_step(stepper: Stepper, *arguments: Any) -> None:
        seen.between_steps = max(seen.between_steps, bytes_in_use())
        step(stepper, *arguments)

    def watched_backward(*arguments: Any, **named: Any) -> None:
        seen.in_a_step = max(seen.in_a_step, bytes_in_use())
        backward(*arguments, **named)
        seen.in_a_step = max(seen.in_a_step, bytes_in_use())

    with patch.object(Stepper, "step", watched_step), patch.object(torch.autograd, "backward", watched_backward):
        yield seen
