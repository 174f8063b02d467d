"""What share of a model's weights is zero, counted as different tools count it, and how small that packs."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.reporting.compressed_size import GZIP
from stages.sparsify.sparsifier import Sparsifier
from stages.sparsify.weights import matmul_weights

POINTS = 100
"""Into how many parts the steps of a training are divided to tell of its schedule."""


@dataclass(frozen=True)
class Zeros:
    """Some weights, and how many of them are zero."""

    weights: int
    zeros: int

    @classmethod
    def of(cls, *tensors: Tensor) -> Zeros:
        """Return the count over ``tensors``; waits for the device."""
        weights = sum(tensor.numel() for tensor in tensors)
        return cls(weights, weights - sum(int(torch.count_nonzero(tensor)) for tensor in tensors))

    @property
    def share(self) -> float:
        """The share that is zero; 0 of nothing."""
        return self.zeros / self.weights if self.weights else 0.0


def sparsity_metrics(model: nn.Module, pruner: Sparsifier) -> dict[str, float]:
    """Return the zeros as numbers for a manifest.

    ``weight_sparsity`` is the share of zeros in the weights touched; ``matmul_sparsity`` that in all weights of matrix
    products and convolutions, which is Intel Neural Compressor's ratio. ``blocks`` and ``blocks_removed`` count those
    of the patterns.
    """
    touched = Zeros.of(*(weight.blocks.weight.parameter for _, weight in pruner.layers()))
    everywhere = Zeros.of(*(weight.parameter for weight in matmul_weights(model)))
    counts = [(weight.num_blocks, weight.num_blocks_removed) for _, weight in pruner.layers()]
    return {
        "weights_touched": touched.weights,
        "weight_sparsity": touched.share,
        "matmul_sparsity": everywhere.share,
        "blocks": sum(count for count, _ in counts),
        "blocks_removed": sum(removed for _, removed in counts),
    }


def layer_details(pruner: Sparsifier) -> dict[str, dict[str, Any]]:
    """Return for every layer touched its type, parameter, shape, weights, zeros and blocks, as JSON."""
    details: dict[str, dict[str, Any]] = {}
    for domain, weight in pruner.layers():
        own = weight.blocks.weight
        zeros = Zeros.of(own.parameter)
        details[own.name] = {
            "type": own.layer_type,
            "parameter": own.parameter_name,
            "shape": list(own.parameter.shape),
            "pattern": "locked" if domain.settings.pattern_lock else domain.settings.pattern,
            "weights": zeros.weights,
            "zeros": zeros.zeros,
            "sparsity": zeros.share,
            "blocks": weight.num_blocks,
            "blocks_removed": weight.num_blocks_removed,
        }
    return details


def schedule_details(pruner: Sparsifier) -> dict[str, Any]:
    """Return when masks were chosen, and ``[step, share asked for]`` over the steps; nothing where none were."""
    span = pruner.span()
    if span is None:
        return {}
    num_steps = max(span[1], pruner.num_steps or 0)
    steps = {round(part * num_steps / POINTS) for part in range(POINTS + 1)} | {*span, *(max(0, e - 1) for e in span)}
    asked = [[step, pruner.asked(step)] for step in sorted(steps)]
    return {"prune_begin_step": span[0], "prune_end_step": span[1], "schedule": asked}


def gzip_bytes(model: nn.Module) -> int:
    """Return the bytes that gzip at its usual level makes of the model's weights and buffers, one after the other."""
    compressor, total = zlib.compressobj(wbits=GZIP), 0
    seen: set[int] = set()
    for tensor in model.state_dict(keep_vars=True).values():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            flat = tensor.detach().to("cpu").contiguous().flatten().view(torch.uint8)
            total += len(compressor.compress(flat.numpy().data))
    return total + len(compressor.flush())


def gzip_metrics(model: nn.Module, dense_bytes: int) -> dict[str, float]:
    """Return the bytes of the weights gzipped, those of the model the stage began with, and their ratio.

    This is the measure of TensorFlow Model Optimization.
    """
    own = gzip_bytes(model)
    return {"gzip_bytes": own, "gzip_dense_bytes": dense_bytes, "gzip_ratio": dense_bytes / own}
