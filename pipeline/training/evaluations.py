"""Evaluations between steps, and the weights of the best epoch where that is asked for."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from pipeline.training import randomness
from pipeline.training.evaluation import evaluate
from pipeline.training.job import Job, steps_per_epoch
from pipeline.training.metrics_log import MetricsLog
from pipeline.training.parts import BestWeights
from pipeline.training.position import Position

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class Evaluations:
    """Scores the model after the steps where ``job`` says so, once each, without drawing a random number.

    It scores the rows set aside to select on, where there are any, and the validation splits otherwise: those are
    only logged, never chosen by.
    """

    def __init__(self, job: Job, position: Position, best: BestWeights, log: MetricsLog) -> None:
        self.job = job
        self.position = position
        self.best = best
        self.log = log

    def is_due(self) -> bool:
        """Say whether an evaluation belongs after the steps done and was not made yet."""
        return self.position.evaluated != self.position.step and self.job.evaluation_due(self.position.step)

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Score the model, log it, keep its weights if they are the best, and return the main metric to be shown.

        A score that is not finite is never the best. ``Interrupted`` changes nothing.
        """
        task, position = self.job.task, self.position
        splits = task.validation if task.select is None else {"select": task.select}
        with randomness.preserved():
            scores = evaluate(self.job.model, task, splits=splits, device=device)
        epoch = position.step / steps_per_epoch(self.job.config, task)
        self.log(position.step, epoch=round(epoch, 4), **scores)
        position.evaluated = position.step
        if self.job.keeps_best:
            value = scores[f"select/{task.main_metric()}"]
            if self._is_best(value):
                position.best_step, position.best_value = position.step, value
                self.best.keep()
        name = f"{next(iter(splits))}/{task.main_metric()}"
        return {task.main_metric(): scores[name]} if name in scores else {}

    def _is_best(self, value: float) -> bool:
        best = self.position.best_value
        if not math.isfinite(value) or best is None:
            return math.isfinite(value)
        return value > best if self.job.task.greater_is_better() else value < best

    def put_best_back(self) -> None:
        """Write the weights of the best epoch into the model; the last ones stay where none was measured."""
        if self.position.best_step is not None:
            self.best.put_back()
        elif self.job.keeps_best:
            name = f"select/{self.job.task.main_metric()}"
            logger.warning("%s: %s was finite after no epoch, so the last weights are kept", self.job.title, name)
