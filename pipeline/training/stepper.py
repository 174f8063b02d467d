"""One optimizer step: which batches it sees, and what happens in which order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch

from pipeline.surgery.cut_in_place import cut_in_place_checked
from pipeline.surgery.equality import CHECKED_ROWS
from pipeline.training import precision, schedules
from pipeline.training.batches import Batches
from pipeline.training.embedding_rows import EmbeddingRows
from pipeline.training.job import Job, TrainBatch, num_steps, steps_per_epoch
from pipeline.training.optimizers import build_optimizer, set_learning_rate
from pipeline.training.position import Position
from pipeline.training.processes import Processes
from pipeline.training.pruner import CutsWhileTraining, Pruner
from pipeline.training.sparse_gradients import embedding_to_update_by_rows
from pipeline.training.window import Window

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Stepper:
    """The optimizer with all that a step needs; what it learns of the step goes to a position and a window."""

    def __init__(self, job: Job, processes: Processes) -> None:
        config, train = job.config, job.task.train
        self.job = job
        self.processes = processes
        self.device = processes.device
        self.optimizer, self.rows = self._optimizer()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.mixed_precision == "fp16")
        self.total = num_steps(config, job.task)
        self.epoch = steps_per_epoch(config, job.task)
        self.batches = Batches(
            len(train),
            batch_size=config.batch_size,
            seed=job.seed,
            lengths=train.lengths,
            pool=config.length_pool,
            process_index=processes.index,
            num_processes=processes.count,
        )

    def _optimizer(self) -> tuple[torch.optim.AdamW, EmbeddingRows | None]:
        """Return what updates the weights, and apart from it what updates word embeddings with sparse gradients."""
        model, config = self.job.model, self.job.config
        embedding = embedding_to_update_by_rows(model, config, self.job.pruner, self.processes)
        if embedding is None:
            return build_optimizer(model, config), None
        optimizer = build_optimizer(model, config, without=embedding.weight)
        return optimizer, EmbeddingRows(embedding, optimizer, config, self.learning_rate)

    def batch(self, rows: list[int]) -> TrainBatch:
        """Return the training split's ``rows`` on the device."""
        batch = self.job.task.train.batch(rows)
        return TrainBatch({name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}, rows)

    def step(self, wrapped: PreTrainedModel, position: Position, window: Window) -> None:
        """Do one optimizer step: gradients, pruner, clipping, update, pruner, and the cut that follows from it."""
        started = time.perf_counter()
        step, config, pruner = position.step, self.job.config, self.job.pruner
        lr = self.learning_rate(step)
        set_learning_rate(self.optimizer, lr)
        self._backward(wrapped, position, window)
        read = [] if self.rows is None else self.rows.take_gradient()
        self.scaler.unscale_(self.optimizer)
        if self.scaler.is_enabled():
            self._drop_overflow()
        if pruner is not None:
            pruner.before_optimizer_step(step)
        if config.max_grad_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_([*self.job.model.parameters(), *read], config.max_grad_norm)
            window.add(step, {"grad_norm": norm})
        self.scaler.step(self.optimizer)
        if self.rows is not None:
            self.rows.step()
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if pruner is not None:
            pruner.after_optimizer_step(step, lr)
            self._cut(pruner)
        window.count += 1
        position.step += 1
        position.step_seconds += time.perf_counter() - started

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Train inside the block; at its regular end the word embeddings are what the optimizer makes of them."""
        if self.rows is None:
            yield
            return
        with self.rows.attached():
            yield
        self.rows.settle()

    def caught_up(self) -> AbstractContextManager[None]:
        """Return the context in which the model is read between two steps."""
        return nullcontext() if self.rows is None else self.rows.caught_up()

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of ``step``, counted from 0."""
        config = self.job.config
        factor = schedules.learning_rate(step, schedule=config.schedule, warmup=config.warmup, total=self.total)
        return config.learning_rate * factor

    def _backward(self, wrapped: PreTrainedModel, position: Position, window: Window) -> None:
        """Add up the gradients of the step's batches, each with its share of their rows, as if they were one batch."""
        epoch, group = divmod(position.step, self.epoch)
        accumulated = self.job.config.gradient_accumulation
        indices = range(len(self.batches))[group * accumulated : (group + 1) * accumulated]
        lengths = self.job.task.train.lengths
        drawn = {index: self.batches.rows(epoch, index) for index in indices}
        total = sum(map(len, drawn.values()))
        for index, rows in drawn.items():
            share = len(rows) / total
            batch = self.batch(rows)
            with self.processes.reduces(wrapped, now=index == indices[-1]):
                with precision.autocast(position.mixed_precision, self.device):
                    loss, parts = self.job.objective(wrapped, batch)
                torch.autograd.backward(self.scaler.scale(loss * share))
            window.add(position.step, {"loss": loss, **parts}, share=share)
            position.rows += len(rows)
            position.tokens += 0 if lengths is None else int(lengths[rows].sum())

    def _cut(self, pruner: Pruner) -> None:
        """Cut out of the model what the pruner lets go for good, if anything; what is gone costs no step any more.

        Many processes go on with masks: what averages their gradients has laid them out by the first widths.
        """
        if self.processes.count > 1 or not isinstance(pruner, CutsWhileTraining):
            return
        plan = pruner.take_cut()
        if plan is not None:
            batch = self.batch(list(range(min(CHECKED_ROWS, len(self.job.task.train)))))
            cut_in_place_checked(self.job.model, plan, batch, optimizer=self.optimizer)

    def _drop_overflow(self) -> None:
        """Zero gradients that overflowed in fp16: the scaler skips the update, and the pruner sees no infinity."""
        gradients = [p.grad for p in self.job.model.parameters() if p.grad is not None]
        if not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            for gradient in gradients:
                gradient.zero_()
