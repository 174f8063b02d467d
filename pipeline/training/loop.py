"""The training loop: one for every stage, resumed from its work folder to the same bits."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import interruption
from pipeline.training import precision, randomness
from pipeline.training.cpu_dropout import cheap_dropout
from pipeline.training.dropout import dropout_rate
from pipeline.training.evaluations import Evaluations
from pipeline.training.freezing import frozen
from pipeline.training.half_done import HalfDone
from pipeline.training.job import (
    Job,
    Objective,
    PreparedObjective,
    Training,
    num_steps,
    steps_per_epoch,
    task_objective,
)
from pipeline.training.memory import keep_freed_memory, keep_kernels
from pipeline.training.metrics_log import MetricsLog
from pipeline.training.parts import BestWeights, LossScale, Moments, PrunerState, Randomness, Weights
from pipeline.training.position import Position
from pipeline.training.processes import Processes
from pipeline.training.progress_bar import ProgressBar
from pipeline.training.pruner import Pruner
from pipeline.training.resume import Checkpoints
from pipeline.training.stepper import Stepper
from pipeline.training.window import Window

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.recipe.training import TrainingConfig
    from pipeline.tasks.task import Task

__all__ = ["Objective", "Training", "num_steps", "steps_per_epoch", "task_objective", "train"]

logger = logging.getLogger(__name__)


def train(
    model: PreTrainedModel,
    *,
    task: Task,
    config: TrainingConfig,
    objective: Objective,
    pruner: Pruner | None = None,
    seed: int,
    work_dir: Path,
    log: MetricsLog,
    name: str = "",
) -> Training:
    """Train ``model`` in place and return what was done; resumes by itself from what ``work_dir`` holds.

    On the CPU the weights after any number of kills and resumes are bit for bit those of an uninterrupted run. A
    stage trains once for each ``name``. The best epoch is kept when the task has rows to select it on and there is no
    pruner; else the last. The model is left in evaluation mode, on the device it was trained on. Raises
    ``Interrupted`` after saving, ``CompressionError`` when the loss is not finite.
    """
    folder = work_dir / (name or "training")
    job = Job(model, task, config, objective, pruner, seed, folder, log, name or task.name)
    keep_freed_memory()
    keep_kernels()
    try:
        with frozen(model, config.freeze, where=job.title), dropout_rate(model, config.dropout), cheap_dropout(model):
            return Loop(job).run()
    finally:
        model.eval()


class Loop:
    """One call of ``train``: everything it holds between two steps is in ``half_done``."""

    def __init__(self, job: Job) -> None:
        config = job.config
        self.job = job
        self.processes = Processes()
        self.device = self.processes.device
        precision.check_precision(config.mixed_precision, self.device)
        self.model = job.model.to(self.device)
        self.stepper = Stepper(job, self.processes)
        self.total = self.stepper.total
        self.position = Position()
        self.window = Window(self.device)
        self.best = BestWeights(self.model)
        self.log = job.log if self.processes.is_main else MetricsLog(job.log.path, writes=False)
        self.evaluations = Evaluations(job, self.position, self.best, self.log)
        self.half_done = HalfDone(
            {
                "weights": Weights(self.model),
                "optimizer": Moments(self.stepper.optimizer, self.model),
                "pruner": PrunerState(job.pruner, self.model),
                "random": Randomness(self.processes),
                "scale": LossScale(self.stepper.scaler),
                "best": self.best,
            },
            self.position,
            self.window,
            self.log,
            checkpoints=Checkpoints(job.folder, save_seconds=config.save_seconds, save_share=config.save_share),
            processes=self.processes,
            identity=job.identity(self.processes.count),
        )

    def run(self) -> Training:
        """Train to the end, from wherever the last save left it; the end is saved, whatever stops the stage later."""
        self._begin()
        shown = self.job.config.progress and self.processes.is_main
        with (
            precision.float32_outputs(self.model, self.position.mixed_precision),
            ProgressBar(self.job.title, total=self.total, done=self.position.step, shown=shown) as bar,
            self.stepper.attached(),
        ):
            wrapped = self.processes.wrap(self.model)
            self.model.train()
            while self.position.step < self.total:
                self._evaluate(bar)
                self.stepper.step(wrapped, self.position, self.window)
                self._log(bar)
                self._pause()
            self._evaluate(bar)
        self.window.check_finite()
        self._save()
        self.evaluations.put_best_back()
        return self._training()

    def _begin(self) -> None:
        """Seed, or restore the last save; choose the precision unless that is done; let the objective prepare."""
        randomness.seed_all(self.job.seed + self.processes.index)
        if self.half_done.restore():
            logger.info("%s: resumes after step %d of %d", self.job.title, self.position.step, self.total)
        self._clock = time.perf_counter()
        if not self.position.mixed_precision:
            self._choose_precision()
        objective: object = self.job.objective
        if isinstance(objective, PreparedObjective):
            objective.prepare(self.position.mixed_precision, self.position.step, self.processes)

    def _choose_precision(self) -> None:
        """Take the precision of the recipe; for "auto" the faster one on a batch of middling length.

        That choice is saved at once: made anew after a kill it might be another, and then so would be the weights.
        """
        position, title = self.position, self.job.title
        position.mixed_precision = self.job.config.mixed_precision
        if position.mixed_precision == "auto":
            batch = self.stepper.batch(self.stepper.batches.middling())
            chosen, position.timed_ms = precision.choose(
                self.model, lambda: self.job.objective(self.model, batch)[0], self.device
            )
            position.mixed_precision = self.processes.from_main(chosen)
            self.half_done.save_beginning()
            why = f"ms a step: {position.timed_ms}" if position.timed_ms else "this processor does bf16 in software"
            logger.info("%s: mixed_precision: %s (%s)", title, position.mixed_precision, why)

    def _log(self, bar: ProgressBar) -> None:
        """Write a line each ``log_every`` steps; where that costs nothing, look for numbers gone bad at each step."""
        step = self.position.step
        is_due = step % self.job.config.log_every == 0 or step == self.total
        if is_due or self.device.type == "cpu":
            self.window.check_finite()
        if is_due:
            means = self.window.means()
            own = {} if self.job.pruner is None else self.job.pruner.logs()
            epoch = round(step / self.stepper.epoch, 4)
            rate = self.stepper.learning_rate(step - 1)
            self.log(step, epoch=epoch, **means, lr=rate, tokens=self.position.tokens, **own)
            self.window.clear()
            removed = {name: share for name, share in own.items() if name.endswith("removed")}
            bar.show(loss=means["loss"], **removed)
        bar.step(step)

    def _evaluate(self, bar: ProgressBar) -> None:
        """Score the model if that is due; what was trained is saved before where that is cheap, and on a signal."""
        if not self.evaluations.is_due():
            return
        wanted = self.half_done.is_due() or self.half_done.is_cheap()
        if self.processes.largest(int(wanted)):
            self._save()
        try:
            with self.stepper.caught_up():
                bar.show(**self.evaluations.evaluate(self.device))
        except interruption.Interrupted:
            if self.processes.count == 1:
                self._save()
            raise
        self._pause()

    def _pause(self) -> None:
        """Save if it is time to, or if a signal asked to stop; then stop. All processes decide alike."""
        signum = interruption.requested()
        wanted = self.processes.largest(0 if signum is None else signum)
        is_due = self.processes.largest(int(self.half_done.is_due()))
        if wanted or is_due:
            self._save()
        if wanted:
            raise interruption.Interrupted(wanted)

    def _save(self) -> None:
        """Save, unless the last save holds all that was done; all processes decide alike."""
        if self.half_done.is_saved():
            return
        now = time.perf_counter()
        self.position.seconds += now - self._clock
        self._clock = now
        self.half_done.save()

    def _training(self) -> Training:
        position = self.position
        position.seconds += time.perf_counter() - self._clock
        per_second = self.processes.count / max(position.step_seconds, 1e-9)
        return Training(
            steps=position.step,
            seconds=position.seconds,
            mixed_precision=position.mixed_precision,
            timed_ms=position.timed_ms,
            rows_per_second=position.rows * per_second,
            tokens_per_second=None if self.job.task.train.lengths is None else position.tokens * per_second,
            best_step=position.best_step,
            best_value=position.best_value,
        )
