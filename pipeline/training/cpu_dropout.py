"""Dropout that draws a quarter of the random numbers: on a CPU these are what dropout costs."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

BITS = 16
LEAST = -(2 ** (BITS - 1))
DRAWN_AT_ONCE = 64 // BITS
CPU_INFO = Path("/proc/cpuinfo")


class CpuDropout(nn.Dropout):
    """``nn.Dropout``, which on a CPU decides with 16 random bits an element.

    torch draws 64 of them from its Mersenne Twister, one number after the other on one thread (unless MKL draws them,
    see ``mkl_draws``): in a small or pruned model a fifth of a step. The rate is met to ``2**-17`` (0.1 is 0.100006),
    and what stays is scaled by the rate that is met, so that the expectation is the input. The numbers come from
    torch's own generator: a seed means the same masks, and its state is all there is to save. On other devices, and
    where nothing or all is dropped, it is ``nn.Dropout``.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as torch calls it
        """Return ``input``, of any shape, with its elements dropped at rate ``p`` and the others scaled."""
        dropped = round(self.p * 2**BITS)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < 2**BITS:
            return super().forward(input)
        scale = torch.empty_like(input, requires_grad=False)
        torch.ge(_random_bits(input.shape), LEAST + dropped, out=scale)
        return input * scale.mul_(1 / (1 - dropped / 2**BITS))


def _random_bits(shape: torch.Size) -> Tensor:
    """Return uniform random int16."""
    count = shape.numel()
    drawn = torch.empty(-(-count // DRAWN_AT_ONCE), dtype=torch.int64).random_(-(2**63), None)
    return drawn.view(torch.int16)[:count].view(shape)


@functools.cache
def mkl_draws() -> bool:
    """Return whether torch has MKL draw for dropout, on all threads: where it was built with it, on Intel's processors.

    Source: ``bernoulli_scalar_kernel`` in torch's ``ATen/native/cpu/DistributionKernels.cpp``.
    """
    told = CPU_INFO.read_text("utf-8", errors="replace") if CPU_INFO.exists() else platform.processor()
    return "GenuineIntel" in told and bool(torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]


@contextmanager
def cheap_dropout(model: nn.Module) -> Iterator[None]:
    """Have the dropout layers of ``model`` be ``CpuDropout`` inside the block, unless MKL draws for them.

    Subclasses of ``nn.Dropout`` are let be.
    """
    layers = [] if mkl_draws() else [module for module in model.modules() if type(module) is nn.Dropout]
    for layer in layers:
        layer.__class__ = CpuDropout
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = nn.Dropout
