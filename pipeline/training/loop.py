"""The training loop: one for every stage, resumed from its work folder to the same bits."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline import interruption
from pipeline.training import precision, randomness, schedules
from pipeline.training.batches import Batches
from pipeline.training.evaluation import evaluate
from pipeline.training.half_done import HalfDone
from pipeline.training.job import Job, Objective, Training, num_steps, steps_per_epoch, task_objective
from pipeline.training.metrics_log import MetricsLog
from pipeline.training.optimizers import build_optimizer, set_learning_rate
from pipeline.training.parts import BestWeights, LossScale, Moments, PrunerState, Randomness, Weights
from pipeline.training.position import Position
from pipeline.training.processes import Processes
from pipeline.training.progress_bar import ProgressBar
from pipeline.training.pruner import Pruner
from pipeline.training.resume import Checkpoints
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
    loop = Loop(Job(model, task, config, objective, pruner, seed, folder, log, name or task.name))
    try:
        return loop.run()
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
        self.optimizer = build_optimizer(self.model, config)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.mixed_precision == "fp16")
        self.total = num_steps(config, job.task)
        self.epoch = steps_per_epoch(config, job.task)
        self.batches = Batches(
            len(job.task.train),
            batch_size=config.batch_size,
            seed=job.seed,
            lengths=job.task.train.lengths,
            pool=config.length_pool,
            process_index=self.processes.index,
            num_processes=self.processes.count,
        )
        self.position = Position()
        self.window = Window(self.device)
        self.best = BestWeights(self.model)
        self.half_done = HalfDone(
            {
                "weights": Weights(self.model),
                "optimizer": Moments(self.optimizer, self.model),
                "pruner": PrunerState(job.pruner),
                "random": Randomness(self.processes),
                "scale": LossScale(self.scaler),
                "best": self.best,
            },
            self.position,
            self.window,
            job.log,
            checkpoints=Checkpoints(job.folder, save_seconds=config.save_seconds, save_share=config.save_share),
            processes=self.processes,
            identity=job.identity(self.processes.count),
        )

    def run(self) -> Training:
        """Train to the end, from wherever the last save left it."""
        self._begin()
        shown = self.job.config.progress and self.processes.is_main
        with (
            precision.float32_outputs(self.model, self.position.mixed_precision),
            ProgressBar(self.job.title, total=self.total, done=self.position.step, shown=shown) as bar,
        ):
            wrapped = self.processes.wrap(self.model)
            self.model.train()
            while self.position.step < self.total:
                self._evaluate()
                self._step(wrapped)
                self._log(bar)
                self._pause()
            self._evaluate()
        self.window.check_finite()
        if self.processes.largest(int(self.half_done.is_cheap())):
            self._save()
        self.best.put_back()
        return self._training()

    def _begin(self) -> None:
        """Seed, or restore the last save; choose the precision unless that is done."""
        randomness.seed_all(self.job.seed + self.processes.index)
        if self.half_done.restore():
            logger.info("%s: resumes after step %d of %d", self.job.title, self.position.step, self.total)
        self._clock = time.perf_counter()
        if not self.position.mixed_precision:
            self._choose_precision()

    def _choose_precision(self) -> None:
        """Take the precision of the recipe; for "auto" the faster one on a batch of middling length."""
        position, title = self.position, self.job.title
        position.mixed_precision = self.job.config.mixed_precision
        if position.mixed_precision == "auto":
            batch = self._batch(self.batches.middling())
            chosen, position.timed_ms = precision.choose(
                self.model, lambda: self.job.objective(self.model, batch)[0], self.device
            )
            position.mixed_precision = self.processes.from_main(chosen)
            logger.info("%s: mixed_precision: %s (ms a step: %s)", title, position.mixed_precision, position.timed_ms)

    def _batch(self, rows: list[int]) -> dict[str, Tensor]:
        batch = self.job.task.train.batch(rows)
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def _step(self, wrapped: PreTrainedModel) -> None:
        """Do one optimizer step: gradients, pruner, clipping, update, pruner."""
        started = time.perf_counter()
        step, config, pruner = self.position.step, self.job.config, self.job.pruner
        lr = self._learning_rate(step)
        set_learning_rate(self.optimizer, lr)
        self._backward(wrapped, step)
        self.scaler.unscale_(self.optimizer)
        if self.scaler.is_enabled():
            self._drop_overflow()
        if pruner is not None:
            pruner.before_optimizer_step(step)
        if config.max_grad_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.max_grad_norm)
            self.window.add(step, {"grad_norm": norm})
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if pruner is not None:
            pruner.after_optimizer_step(step, lr)
        self.window.count += 1
        self.position.step += 1
        self.position.step_seconds += time.perf_counter() - started

    def _learning_rate(self, step: int) -> float:
        config = self.job.config
        factor = schedules.learning_rate(step, schedule=config.schedule, warmup=config.warmup, total=self.total)
        return config.learning_rate * factor

    def _backward(self, wrapped: PreTrainedModel, step: int) -> None:
        """Add up the gradients of the step's batches; the loss is their mean, whatever rows the last one has."""
        epoch, group = divmod(step, self.epoch)
        accumulated = self.job.config.gradient_accumulation
        indices = range(len(self.batches))[group * accumulated : (group + 1) * accumulated]
        lengths = self.job.task.train.lengths
        for index in indices:
            rows = self.batches.rows(epoch, index)
            batch = self._batch(rows)
            with self.processes.reduces(wrapped, now=index == indices[-1]):
                with precision.autocast(self.position.mixed_precision, self.device):
                    loss, parts = self.job.objective(wrapped, batch)
                torch.autograd.backward(self.scaler.scale(loss / len(indices)))
            self.window.add(step, {"loss": loss, **parts}, share=1 / len(indices))
            self.position.rows += len(rows)
            self.position.tokens += 0 if lengths is None else int(lengths[rows].sum())

    def _drop_overflow(self) -> None:
        """Zero gradients that overflowed in fp16: the scaler skips the update, and the pruner sees no infinity."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            for gradient in gradients:
                gradient.zero_()

    def _log(self, bar: ProgressBar) -> None:
        """Write a line each ``log_every`` steps; where that costs nothing, look for numbers gone bad at each step."""
        step = self.position.step
        is_due = step % self.job.config.log_every == 0 or step == self.total
        if is_due or self.device.type == "cpu":
            self.window.check_finite()
        if is_due:
            means = self.window.means()
            own = {} if self.job.pruner is None else self.job.pruner.logs()
            epoch = round(step / self.epoch, 4)
            rate = self._learning_rate(step - 1)
            self.job.log(step, epoch=epoch, **means, lr=rate, tokens=self.position.tokens, **own)
            self.window.clear()
            bar.loss(means["loss"])
        bar.step(step)

    def _evaluate(self) -> None:
        """Score the model if that is due here and not done, log it, and keep the weights if they are the best."""
        step, job = self.position.step, self.job
        if self.position.evaluated == step or not job.evaluation_due(step):
            return
        splits = job.task.validation if job.task.select is None else {"select": job.task.select}
        try:
            with randomness.preserved():
                scores = evaluate(self.model, job.task, splits=splits, device=self.device)
        except interruption.Interrupted:
            if self.processes.count == 1 and not self.half_done.is_saved():
                self._save()
            raise
        job.log(step, epoch=round(step / self.epoch, 4), **scores)
        self.position.evaluated = step
        if job.keeps_best:
            value = scores[f"select/{job.task.main_metric()}"]
            if self.position.best_value is None or value > self.position.best_value:
                self.position.best_step, self.position.best_value = step, value
                self.best.keep()
        self._pause()

    def _pause(self) -> None:
        """Save if it is time to, or if a signal asked to stop; then stop. All processes decide alike."""
        signum = interruption.requested()
        wanted = self.processes.largest(0 if signum is None else signum)
        is_due = self.processes.largest(int(self.half_done.is_due()))
        if (wanted or is_due) and not self.half_done.is_saved():
            self._save()
        if wanted:
            raise interruption.Interrupted(wanted)

    def _save(self) -> None:
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
