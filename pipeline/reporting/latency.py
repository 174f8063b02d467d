"""Time models against each other on the same batches, taking turns in one process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pipeline import interruption

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Split

Batch = Mapping[str, Tensor]

WARMUP_ROUNDS = 3
MIN_ROUNDS, MAX_ROUNDS = 30, 200
MIN_SECONDS = 0.5


@dataclass(frozen=True)
class Latency:
    """How long a model took in each round; two models' rounds pair up when they were measured together."""

    rounds_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """Return the median over rounds."""
        return median(self.rounds_ms)

    @property
    def p95_ms(self) -> float:
        """Return the 95th percentile over rounds, interpolated."""
        return float(np.percentile(self.rounds_ms, 95))

    def speedup_over(self, reference: Latency) -> float:
        """Return the median over rounds of the reference's time over this one's, both on the same batch."""
        return median(theirs / own for theirs, own in zip(reference.rounds_ms, self.rounds_ms, strict=True))


def measure_latency(
    models: Mapping[str, PreTrainedModel],
    batches: Sequence[Batch],
    *,
    rounds: int = MIN_ROUNDS,
    min_seconds: float = MIN_SECONDS,
) -> dict[str, Latency]:
    """Return the latency of each model over at least ``rounds`` forward passes, the models taking turns on each batch.

    Round ``r`` runs batch ``r % len(batches)``; who goes first changes every round. However long they take, no round
    is left out; models that are done sooner than ``min_seconds`` in all run more, up to ``MAX_ROUNDS``:
    ``len(latency.rounds_ms)`` tells. Each model is on its device already. Raises ``Interrupted`` between two rounds.
    """
    if not batches or rounds < 1:
        raise ValueError(f"needs at least one batch and one round, got {len(batches)} and {rounds}")
    times: dict[str, list[float]] = {name: [] for name in models}
    with _evaluating(models), torch.inference_mode():
        inputs = {name: [_to_device(batch, model) for batch in batches] for name, model in models.items()}
        for done in range(WARMUP_ROUNDS):
            for name, model in models.items():
                _forward_ms(model, inputs[name][done % len(batches)])
        begin = time.perf_counter()
        for done in range(max(rounds, MAX_ROUNDS)):
            interruption.check()
            for name in reversed(inputs) if done % 2 else inputs:
                times[name].append(_forward_ms(models[name], inputs[name][done % len(batches)]))
            if done + 1 >= rounds and time.perf_counter() - begin >= min_seconds:
                break
    return {name: Latency(tuple(samples)) for name, samples in times.items()}


def real_batches(split: Split, batch_size: int, *, count: int) -> list[dict[str, Tensor]]:
    """Return up to ``count`` batches of neighbouring rows spread evenly over ``split``, without their labels."""
    size = min(batch_size, len(split))
    last = len(split) - size
    starts = sorted({round(place * last / max(count - 1, 1)) for place in range(count)})
    return [without_labels(split.batch(range(start, start + size))) for start in starts]


def without_labels(batch: Batch) -> dict[str, Tensor]:
    """Return ``batch`` as it comes at inference."""
    return {name: value for name, value in batch.items() if name != "labels"}


def _forward_ms(model: PreTrainedModel, batch: Batch) -> float:
    begin = time.perf_counter()
    model(**batch)
    if model.device.type != "cpu":
        torch.accelerator.synchronize(model.device)
    return (time.perf_counter() - begin) * 1000.0


def _to_device(batch: Batch, model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: value.to(model.device) for name, value in batch.items()}


@contextmanager
def _evaluating(models: Mapping[str, PreTrainedModel]) -> Iterator[None]:
    were_training = [model for model in models.values() if model.training]
    for model in models.values():
        model.eval()
    try:
        yield
    finally:
        for model in were_training:
            model.train()
