"""What a model costs: parameters, multiply-accumulates, bytes, and measured time against a reference."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.reporting.compressed_size import gzip_bytes
from pipeline.reporting.latency import (
    MIN_ROUNDS,
    MIN_SECONDS,
    Batch,
    Latency,
    measure_latency,
    real_batches,
    without_labels,
)
from pipeline.surgery.architectures import encoder_parameters
from pipeline.training.processes import launched

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task

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
    rounds: int = MIN_ROUNDS,
    min_seconds: float = MIN_SECONDS,
) -> dict[str, float]:
    """Return what ``model`` costs, as a manifest's metrics; the speed-ups are over ``reference``, measured in turns.

    Batches are real rows of the first validation split: the first 32 for the MACs, some spread over it for the
    latency, which is in float32. ``reference is model`` says that the model is the first one: its speed-ups are 1.
    ``folder`` adds the bytes of the weights there. For the latency, of ``rounds`` and ``min_seconds`` at least, the
    models are moved to the device that accelerate finds, and then back to where they were.
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
    models = {"model": _in_float32(model)}
    if reference is not model:
        models["reference"] = _in_float32(reference)
    with _on_device(models, launched().device):
        for batch_size, count in LATENCY_BATCHES.items():
            batches = real_batches(split, batch_size, count=count)
            latencies = measure_latency(models, batches, rounds=rounds, min_seconds=min_seconds)
            measured |= _timings(batch_size, latencies)
    measured["latency_threads"] = torch.get_num_threads()
    return measured


def device_name() -> str:
    """Return the name of the device that latency is measured on: that of the GPU, or the kind of any other."""
    device: torch.device = launched().device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _timings(batch_size: int, latencies: Mapping[str, Latency]) -> dict[str, float]:
    own, reference = latencies["model"], latencies.get("reference")
    return {
        f"latency_b{batch_size}_ms": own.median_ms,
        f"latency_b{batch_size}_p95_ms": own.p95_ms,
        f"latency_b{batch_size}_rounds": len(own.rounds_ms),
        f"speedup_b{batch_size}": 1.0 if reference is None else own.speedup_over(reference),
    }


@contextmanager
def _on_device(models: Mapping[str, PreTrainedModel], device: torch.device) -> Iterator[None]:
    homes = {name: model.device for name, model in models.items()}
    try:
        for model in models.values():
            model.to(device)
        yield
    finally:
        for name, model in models.items():
            model.to(homes[name])


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
