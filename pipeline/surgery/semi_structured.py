"""Weights of which 2 of every 4 are zero, as the tensors that an NVIDIA GPU multiplies at half the cost."""

from __future__ import annotations

import copy
import logging
from typing import TypeVar

import torch
from torch import Tensor, nn

from pipeline.errors import CompressionError

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=nn.Module)

LEAST_CAPABILITY = (8, 0)
"""NVIDIA's Ampere, the first with sparse tensor cores."""
DTYPES = (torch.float16, torch.bfloat16)
ROWS, COLUMNS = 32, 64
"""What a weight's rows and columns must be multiples of, for either of PyTorch's two kernels."""


def to_semi_structured(model: Model) -> Model:
    """Return a copy of ``model`` whose 2:4 weights are PyTorch's semi-structured tensors, for inference.

    Converted is the weight of every ``Linear`` of which at most 2 in each 4 consecutive inputs are not zero, where its
    shape allows; all else stays as it is. The outputs are those of the dense weights up to rounding. Raises
    ``CompressionError`` off a GPU of compute capability 8.0, in another precision than float16 and bfloat16, and when
    there is nothing to convert.
    """
    found = {path: layer for path, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    sparse = [path for path, layer in found.items() if is_two_of_four(layer.weight)]
    if not sparse:
        raise CompressionError("to_semi_structured: the model has no Linear with 2:4 zeros; sparsify with pattern 2:4")
    _check_hardware(found[sparse[0]].weight)
    fitting = [path for path in sparse if not (found[path].out_features % ROWS or found[path].in_features % COLUMNS)]
    if unfit := [path for path in sparse if path not in fitting]:
        logger.warning("these weights stay dense, not multiples of %d × %d: %s", ROWS, COLUMNS, ", ".join(unfit))
    converted = copy.deepcopy(model)
    for path in fitting:
        layer = converted.get_submodule(path)
        weight = torch.sparse.to_sparse_semi_structured(layer.get_parameter("weight").detach().contiguous())
        layer.weight = nn.Parameter(weight, requires_grad=False)
    return converted


def is_two_of_four(weight: Tensor) -> bool:
    """Say whether at most 2 of every 4 consecutive inputs, ``(outputs, inputs)``, are not zero; not where all are."""
    if weight.numel() == 0 or weight.shape[1] % 4:
        return False
    kept = (weight.detach() != 0).reshape(weight.shape[0], -1, 4).sum(-1)
    return int(kept.max()) <= 2 and bool(kept.any())


def _check_hardware(weight: Tensor) -> None:
    told = "to_semi_structured: needs an NVIDIA GPU of compute capability 8.0 or more"
    if weight.device.type != "cuda":
        raise CompressionError(f"{told}, got a model on {weight.device.type}; the dense weights compute the same there")
    capability = torch.cuda.get_device_capability(weight.device)
    if capability < LEAST_CAPABILITY:
        raise CompressionError(f"{told}, got {capability[0]}.{capability[1]}; the dense weights compute the same there")
    if weight.dtype not in DTYPES:
        raise CompressionError(
            f"to_semi_structured: must be in float16 or bfloat16, got {weight.dtype}; call model.half() first"
        )
