"""What a stage does beside training, timed on a few rows: scoring its model, and measuring what it costs."""

from __future__ import annotations

import copy
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.reporting.latency import MAX_ROUNDS, MIN_ROUNDS, MIN_SECONDS, WARMUP_ROUNDS, measure_latency, real_batches
from pipeline.reporting.profile import LATENCY_BATCHES, parameters
from pipeline.training.batches import by_length
from pipeline.training.processes import launched

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Split, Task

SAMPLED_ROWS = 256
EVALUATION_BATCH = 64
COMPRESSED_BYTES = 1 << 21


@dataclass(frozen=True)
class Around:
    """What a model takes beside its training: one evaluation, of all splits or of the first one alone, and the
    measurements at the end of its stage.
    """

    evaluation: float
    of_first_split: float
    measurements: float


def time_around(model: PreTrainedModel, reference: PreTrainedModel | None, task: Task) -> Around:
    """Time what a stage does beside training on its model; ``reference`` is measured in turns with it, if any."""
    device = launched().device
    timed = {"model": model.eval().to(device)}
    if reference is not None:
        timed["reference"] = copy.deepcopy(reference).eval().to(device)
    splits = task.validation
    evaluations = [_time_evaluation(timed["model"], split, device) for split in splits.values()]
    measurements = _time_compressing(model)
    for batch_size in LATENCY_BATCHES:
        batches = real_batches(next(iter(splits.values())), batch_size, count=2)
        latencies = measure_latency(timed, batches, rounds=3, min_seconds=0.0)
        once = sum(latency.median_ms for latency in latencies.values()) / 1000
        measurements += WARMUP_ROUNDS * once + max(MIN_ROUNDS * once, min(MIN_SECONDS, MAX_ROUNDS * once))
    return Around(sum(evaluations), evaluations[0], measurements)


@torch.inference_mode()
def _time_evaluation(model: PreTrainedModel, split: Split, device: torch.device) -> float:
    """Return the seconds that one pass over ``split`` takes, from some of its rows, spread over it."""
    rows = np.linspace(0, len(split) - 1, min(SAMPLED_ROWS, len(split))).round().astype(int)
    lengths = None if split.lengths is None else split.lengths[rows]
    batches = by_length(len(rows), lengths, EVALUATION_BATCH)
    model(**{name: value.to(device) for name, value in split.batch(rows[batches[0]].tolist()).items()})
    began = time.perf_counter()
    for batch in batches:
        inputs = {name: value.to(device) for name, value in split.batch(rows[batch].tolist()).items()}
        float(model(**inputs).loss)
    return (time.perf_counter() - began) * len(split) / len(rows)


def _time_compressing(model: PreTrainedModel) -> float:
    """Return the seconds in which the bytes of the weights compressed are counted, from some of these."""
    largest = max(model.parameters(), key=lambda parameter: parameter.numel())
    sample = largest.detach().cpu().flatten()[: COMPRESSED_BYTES // 4].contiguous().numpy().tobytes()
    began = time.perf_counter()
    zlib.compress(sample)
    return (time.perf_counter() - began) * 4 * parameters(model) / len(sample)
