"""What a training is given, how long it is, and what it hands back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor

from pipeline.errors import RecipeError
from pipeline.training.metrics_log import MetricsLog
from pipeline.training.processes import Processes, launched
from pipeline.training.pruner import Pruner

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.recipe.training import TrainingConfig
    from pipeline.tasks.task import Task

Objective = Callable[["PreTrainedModel", dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]
"""From the model (wrapped, where there are many processes) and a batch to the loss and its parts for the log.

It is called under the stage's autocast, so that a teacher's forward pass inside it runs in the same precision; the
outputs of the model that trains come in float32, those of a teacher as autocast left them. Its batches are
``TrainBatch``es.
"""


class TrainBatch(dict[str, Tensor]):
    """A batch on the device, a dictionary as models take it, that also knows its ``rows`` of the training split."""

    def __init__(self, tensors: Mapping[str, Tensor], rows: Sequence[int]) -> None:
        super().__init__(tensors)
        self.rows = tuple(rows)


@runtime_checkable
class PreparedObjective(Protocol):
    """An ``Objective`` that has something to do before the first step, such as to have its teacher's answers ready."""

    def prepare(self, mixed_precision: str, step: int, processes: Processes) -> None:
        """Be ready for step ``step``, that of a start or a resume, in the precision chosen; in every process."""


def task_objective(model: PreTrainedModel, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the task's own loss, as the model computes it from ``labels``."""
    return model(**batch).loss, {}


def steps_per_epoch(config: TrainingConfig, task: Task) -> int:
    """Return the optimizer steps in which every row of the training split is seen once."""
    processes: int = launched().num_processes
    batches = math.ceil(math.ceil(len(task.train) / config.batch_size) / processes)
    return math.ceil(batches / config.gradient_accumulation)


def num_steps(config: TrainingConfig, task: Task) -> int:
    """Return the optimizer steps of a stage; part of a step, from a share of an epoch, counts as a whole one."""
    if config.steps is not None:
        return config.steps
    if config.epochs is None:
        raise RecipeError("training.epochs: neither epochs nor steps is set; set one of them")
    return math.ceil(config.epochs * steps_per_epoch(config, task))


@dataclass(frozen=True)
class Job:
    """All that a training is given; ``folder`` holds its half-done state, ``title`` names it to people."""

    model: PreTrainedModel
    task: Task
    config: TrainingConfig
    objective: Objective
    pruner: Pruner | None
    seed: int
    folder: Path
    log: MetricsLog
    title: str

    @property
    def keeps_best(self) -> bool:
        """Whether the best epoch is kept: there are rows to select it on, and no pruner that must end where it ends."""
        return self.task.select is not None and self.pruner is None

    def evaluation_due(self, step: int) -> bool:
        """Say whether an evaluation follows the first ``step`` steps: it depends on nothing else.

        Where the best epoch is kept: after each epoch and at the end, whatever ``evaluate_every`` says, since that
        changes no result. Else every so many epochs, but not at the end, where the runner evaluates.
        """
        every = 1 if self.keeps_best else self.config.evaluate_every
        if step == 0 or every is None:
            return False
        if step == num_steps(self.config, self.task):
            return self.keeps_best
        interval = every * steps_per_epoch(self.config, self.task)
        return int(step / interval) > int((step - 1) / interval)

    def identity(self, processes: int) -> dict[str, Any]:
        """Return what must be the same for a half-done training to go on."""
        return {
            "seed": self.seed,
            "steps": num_steps(self.config, self.task),
            "rows": len(self.task.train),
            "batch_size": self.config.batch_size,
            "gradient_accumulation": self.config.gradient_accumulation,
            "processes": processes,
        }


@dataclass(frozen=True)
class Training:
    """What a training did; ``seconds`` and rates count all its resumes, not the time between them.

    ``timed_ms`` holds the milliseconds of a step in each precision where "auto" timed them. ``best_step`` is the step
    whose weights the model now has, None when they are the last. Without lengths there is no count of tokens.
    """

    steps: int
    seconds: float
    mixed_precision: str
    timed_ms: dict[str, float]
    rows_per_second: float
    tokens_per_second: float | None
    best_step: int | None
    best_value: float | None

    def details(self) -> dict[str, Any]:
        """Return the fields as JSON for ``StageResult.details``."""
        return dict(vars(self))
