"""What a model costs: parameters, multiply-accumulates, bytes, and measured time against a reference."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.reporting.compressed_size import gzip_bytes
from pipeline.reporting.latency import Batch, measure_latency, real_batches, without_labels
from pipeline.surgery.architectures import encoder_parameters

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Split, Task

MACS_ROWS = 32
LATENCY_BATCHES = {1: 10, 8: 10, 32: 5}
WEIGHT_FILES = ("*.safetensors",)


def parameters(model: PreTrainedModel) -> int:
    """Return the number of parameters, each shared one counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: PreTrainedModel, batch: Batch) -> int:
    """Return the multiply-accumulates of all matrix products and convolutions per row of ``batch``, padding included.

    Counted while the model runs under eager attention, so that a layer of any width counts as what it computes.
    """
    inputs = {name: value.to(model.device) for name, value in without_labels(batch).items()}
    rows = len(next(iter(inputs.values())))
    was_training = model.training
    model.eval()
    with _eager_attention(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**inputs)
    model.train(was_training)
    flops: int = counter.get_total_flops()
    return round(flops / 2 / rows)


def size_bytes(folder: Path) -> int:
    """Return the bytes of the weight files in ``folder``."""
    return sum(path.stat().st_size for pattern in WEIGHT_FILES for path in folder.glob(pattern))


def profile_stage(
    model: PreTrainedModel,
    reference: PreTrainedModel,
    task: Task,
    *,
    folder: Path | None = None,
    rounds: int = 30,
    max_seconds: float = 60.0,
) -> dict[str, float]:
    """Return what ``model`` costs, as a manifest's metrics; the speed-ups are over ``reference``, measured in turns.

    Batches are real rows of the first validation split: the first 32 for the MACs, some spread over it for the
    latency, which is in float32. ``reference is model`` says that the model is the first one: its speed-ups are 1.
    ``folder`` adds the bytes of the weights there. ``max_seconds`` bounds each batch size's measurement.
    """
    split = next(iter(task.validation.values()))
    sparsity = 1.0 - encoder_parameters(model) / encoder_parameters(reference)
    measured: dict[str, float] = {
        "parameters": parameters(model),
        "encoder_parameters": encoder_parameters(model),
        "encoder_sparsity": sparsity,
        "macs": macs(model, split.batch(range(min(MACS_ROWS, len(split))))),
    }
    if folder is not None:
        measured["size_bytes"] = size_bytes(folder)
        measured["size_gzip_bytes"] = gzip_bytes(folder)
    measured |= _timings(
        _in_float32(model), None if reference is model else _in_float32(reference), split, rounds, max_seconds
    )
    measured["latency_threads"] = torch.get_num_threads()
    return measured


def _timings(
    model: PreTrainedModel, reference: PreTrainedModel | None, split: Split, rounds: int, max_seconds: float
) -> dict[str, float]:
    timings: dict[str, float] = {}
    models = {"model": model} if reference is None else {"model": model, "reference": reference}
    for batch_size, count in LATENCY_BATCHES.items():
        batches = real_batches(split, batch_size, count=count)
        latencies = measure_latency(models, batches, rounds=rounds, max_seconds=max_seconds)
        own = latencies["model"]
        timings[f"latency_b{batch_size}_ms"] = own.median_ms
        timings[f"latency_b{batch_size}_p95_ms"] = own.p95_ms
        timings[f"latency_b{batch_size}_rounds"] = len(own.rounds_ms)
        timings[f"speedup_b{batch_size}"] = own.speedup_over(latencies["reference"]) if reference else 1.0
    return timings


def _in_float32(model: PreTrainedModel) -> PreTrainedModel:
    if all(value.dtype == torch.float32 for value in model.parameters()):
        return model
    return copy.deepcopy(model).float()


@contextmanager
def _eager_attention(model: PreTrainedModel) -> Iterator[None]:
    chosen = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(chosen)
