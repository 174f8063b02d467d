"""The equality that guards every cut: units masked where they are read, against units cut out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import CompressionError
from pipeline.surgery.condense import condense
from pipeline.surgery.keep_plan import KeepPlan
from pipeline.surgery.masking import mask_in_place, mask_units

CHECKED_ROWS = 16
"""How many rows of the training split a cut is checked on."""
TOLERANCE = 1e-4
SMALLEST_SCALE = 1e-2
"""Smaller outputs are compared as if they were this large: rounding in the layers before does not shrink with them."""


def condense_checked(
    model: nn.Module,
    plan: KeepPlan,
    batch: Mapping[str, Tensor],
    *,
    tolerance: float = TOLERANCE,
    consume: bool = False,
) -> Any:
    """Return ``condense(model, plan)`` after comparing it on ``batch`` with the model whose units are masked.

    Every output and hidden state of the two is compared in float32 and evaluation mode; the model's modes are as
    before afterwards. With ``consume`` the model is given up as in ``condense``, and there is never a second one.
    Raises ``CompressionError`` when a difference exceeds ``tolerance`` times the largest value of that output.
    """
    if consume:
        mask_in_place(model, plan)
    expected = evaluation_outputs(model if consume else mask_units(model, plan), batch)
    condensed = condense(model, plan, consume=consume)
    check_equal(expected, evaluation_outputs(condensed, batch), tolerance=tolerance)
    return condensed


def check_equal(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor], *, tolerance: float = TOLERANCE) -> None:
    """Raise ``CompressionError`` where an output of a cut model exceeds what the masked one lets it differ by.

    That is ``tolerance`` times the largest value of the output.
    """
    if expected.keys() != actual.keys():
        raise CompressionError(f"the condensed model returns {sorted(actual)}, the masked one {sorted(expected)}")
    for name, masked in expected.items():
        difference = float((masked - actual[name]).abs().max()) if masked.shape == actual[name].shape else float("inf")
        scale = max(float(masked.abs().max()), SMALLEST_SCALE)
        if not difference <= tolerance * scale:
            raise CompressionError(
                f"the condensed model does not compute what the masked model computes: max difference {difference:.3g} "
                f"in {name} (values up to {scale:.3g}, allowed is {tolerance * scale:.3g}); nothing was kept of this "
                "cut, and the model's architecture or the keep plan is at fault"
            )


@torch.no_grad()
def evaluation_outputs(model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return every tensor that the model computes from ``batch``, in float32 and evaluation mode, by name."""
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in model.parameters()):
        model = copy.deepcopy(model).float()
    device = next(model.parameters()).device
    inputs = {name: tensor.to(device) for name, tensor in batch.items() if name != "labels"}
    with evaluation_mode(model), torch.autocast(device.type, enabled=False):
        outputs = model(**inputs, output_hidden_states=True, return_dict=True)
    tensors: dict[str, Tensor] = {}
    for name, value in outputs.items():
        if isinstance(value, Tensor):
            tensors[name] = value
        elif isinstance(value, tuple):
            tensors.update({f"{name}.{index}": each for index, each in enumerate(value) if isinstance(each, Tensor)})
    return tensors


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch every module to evaluation, and each back to the mode it had."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
