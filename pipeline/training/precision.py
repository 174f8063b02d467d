"""Mixed precision: the context of a forward pass, and the choice between float32 and bf16 by timing both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import torch
from accelerate.utils import convert_to_fp32
from torch import Tensor, nn

from pipeline.errors import RecipeError
from pipeline.training import randomness

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
ROUNDS = 3
MARGIN = 0.9
"""bf16 must take less than this share of float32's time, so that noise does not decide."""
EMULATED = 4.0
"""A processor whose bf16 product takes so many times float32's does it in software: there no model gains."""
PROBE_SIZE = 256


def check_precision(mixed_precision: str, device: torch.device, *, where: str = "training") -> None:
    """Raise ``RecipeError`` where the device cannot do what the recipe asks in its section ``where``."""
    if mixed_precision == "fp16" and device.type != "cuda":
        raise RecipeError(f"{where}.mixed_precision: fp16 needs a CUDA device, got {device.type}; use auto, bf16 or no")


def autocast(mixed_precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context that forward passes run in."""
    if mixed_precision == "no":
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[mixed_precision])


@contextmanager
def float32_outputs(model: nn.Module, mixed_precision: str) -> Iterator[None]:
    """Make the model's outputs float32 inside the block, whatever autocast computed them in."""
    if mixed_precision == "no":
        yield
        return
    handle = model.register_forward_hook(lambda module, arguments, outputs: convert_to_fp32(outputs))
    try:
        yield
    finally:
        handle.remove()


def time_precisions(
    model: nn.Module, loss: Callable[[], Tensor], device: torch.device, *, rounds: int = ROUNDS
) -> dict[str, float]:
    """Return milliseconds of a forward and backward pass under "no" and "bf16", the least of ``rounds`` each.

    Weights, buffers, gradients and random generators are afterwards bit for bit as before.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    times: dict[str, list[float]] = {"no": [], "bf16": []}
    with randomness.preserved():
        for _ in range(rounds + 1):
            for name, taken in times.items():
                taken.append(_pass_ms(model, loss, name, device))
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    return {name: min(taken[1:]) for name, taken in times.items()}


def _pass_ms(model: nn.Module, loss: Callable[[], Tensor], name: str, device: torch.device) -> float:
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    started = time.perf_counter()
    with float32_outputs(model, name), autocast(name, device):
        value = loss()
    torch.autograd.grad(value, weights, allow_unused=True)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) * 1000


def faster(timed_ms: Mapping[str, float]) -> str:
    """Return the precision to train in: "bf16" where it clearly wins, else "no"."""
    return "bf16" if timed_ms["bf16"] < MARGIN * timed_ms["no"] else "no"


@cache
def is_emulated(device_type: str) -> bool:
    """Say whether bf16 is done in software, from one product and its gradients; a GPU's is left to the timing.

    A whole step would tell as well, but takes tens of seconds there.
    """
    if device_type != "cpu":
        return False
    float32, bf16 = _product_seconds(torch.float32), _product_seconds(torch.bfloat16)
    return bf16 > EMULATED * float32


def _product_seconds(dtype: torch.dtype) -> float:
    """Return the seconds of a square product and its two gradients, the least of three."""
    left = torch.ones(PROBE_SIZE, PROBE_SIZE, dtype=dtype, requires_grad=True)
    right = torch.ones(PROBE_SIZE, PROBE_SIZE, dtype=dtype, requires_grad=True)
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        torch.autograd.grad((left @ right).sum(), (left, right))
        taken.append(time.perf_counter() - started)
    return min(taken)


def choose(model: nn.Module, loss: Callable[[], Tensor], device: torch.device) -> tuple[str, dict[str, float]]:
    """Return the precision to train in, and the milliseconds that speak for it: none where bf16 is emulated."""
    if is_emulated(device.type):
        return "no", {}
    model.train()
    timed_ms = {name: round(ms, 3) for name, ms in time_precisions(model, loss, device).items()}
    return faster(timed_ms), timed_ms
