"""How much a stage trains: steps, rows and tokens, counted over the very batches it will see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.training.batches import Batches
from pipeline.training.job import num_steps, steps_per_epoch

if TYPE_CHECKING:
    from pipeline.recipe.training import TrainingConfig
    from pipeline.tasks.task import Task


@dataclass(frozen=True)
class Amount:
    """What one process trains on; without lengths, as images are, there is no count of tokens. Padding is no token."""

    steps: int
    rows: int
    tokens: int | None


def training_amount(config: TrainingConfig, task: Task, seed: int) -> Amount:
    """Return what a stage of that config and that (derived) seed trains on."""
    steps, per_epoch, lengths = num_steps(config, task), steps_per_epoch(config, task), task.train.lengths
    batches = Batches(
        len(task.train), batch_size=config.batch_size, seed=seed, lengths=lengths, pool=config.length_pool
    )
    epochs, rest = divmod(steps, per_epoch)
    seen = range(len(batches))[: rest * config.gradient_accumulation]
    last = [row for index in seen for row in batches.rows(epochs, index)]
    rows = epochs * len(task.train) + len(last)
    tokens = None if lengths is None else epochs * int(lengths.sum()) + int(lengths[last].sum())
    return Amount(steps, rows, tokens)


def num_evaluations(config: TrainingConfig, task: Task) -> int:
    """Return how often the model is scored between steps, where no best epoch is kept."""
    if config.evaluate_every is None:
        return 0
    interval = config.evaluate_every * steps_per_epoch(config, task)
    return int((num_steps(config, task) - 1) / interval)
