"""Bytes that tensors hold, and bytes in use, apart from what the process keeps of freed memory.

The resident set grows up to a bound while a process trains, whatever it trains on, for freed memory and oneDNN's
kernels are kept on purpose (pipeline/training/memory.py). Whether memory is flat shows in what is not free, and most
plainly in the tensors.
"""

from __future__ import annotations

import ctypes
import gc
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


LOOKED_FOR_EVERY = 100
"""Steps from one look for all tensors to the next: each takes as long as a short step."""


@dataclass
class InUse:
    """The most bytes that were seen: in use in a step, before or after its backward pass; in use between two steps;
    and held by tensors between two steps.
    """

    in_a_step: int = 0
    between_steps: int = 0
    of_tensors: int = 0


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


def bytes_of_tensors() -> int:
    """Return the bytes of all tensors that Python knows of, those that share a storage counted once."""
    tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
    storages = [tensor.untyped_storage() for tensor in tensors if tensor.device.type != "meta"]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@contextmanager
def watched() -> Iterator[InUse]:
    """Watch what the steps of the pipeline's loop hold inside the block."""
    seen = InUse()
    step, backward = Stepper.step, torch.autograd.backward

    def watched_step(stepper: Stepper, wrapped: Any, position: Any, window: Any) -> None:
        seen.between_steps = max(seen.between_steps, bytes_in_use())
        if position.step % LOOKED_FOR_EVERY == 1:
            seen.of_tensors = max(seen.of_tensors, bytes_of_tensors())
        step(stepper, wrapped, position, window)

    def watched_backward(*arguments: Any, **named: Any) -> None:
        seen.in_a_step = max(seen.in_a_step, bytes_in_use())
        backward(*arguments, **named)
        seen.in_a_step = max(seen.in_a_step, bytes_in_use())

    with patch.object(Stepper, "step", watched_step), patch.object(torch.autograd, "backward", watched_backward):
        yield seen
