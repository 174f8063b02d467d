"""The hooks that Intel Neural Compressor's documentation puts into a training function, around any of our pruners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from pipeline.integrations.counted import CountedPruner, learning_rate
from pipeline.surgery.keep_plan import KeepPlan
from pipeline.training.pruner import Pruner


class TrainingHooks:
    """The hooks ``on_epoch_begin``, ``on_step_begin``, ``on_before_optimizer_step``, ``on_step_end``, ``on_epoch_end``.

    These five are enough: the masks are written in ``on_step_end``. A loop that also has the later versions'
    ``on_after_optimizer_step`` gets them written there; ``on_train_begin`` and ``on_train_end`` are for it, too. Steps
    are counted here, one for each ``on_before_optimizer_step``, whatever number ``on_step_begin`` is given: with
    gradient accumulation there are fewer of them than batches.
    """

    def __init__(self, pruner: Pruner, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Hold the pruner of ``model``; the learning rate is read from ``optimizer``."""
        self.pruner = pruner
        self.model = model
        self.optimizer = optimizer
        self.keep_plan: KeepPlan | None = None
        self.score: Any = None
        self._counted = CountedPruner(pruner)
        self._lr = 0.0
        self._is_finished = False

    @property
    def num_steps(self) -> int:
        """How many optimizer steps were done."""
        return self._counted.num_steps

    def on_train_begin(self) -> None:
        """Do nothing: the pruner is built already."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Do nothing: schedules count steps."""

    def on_step_begin(self, batch: int) -> None:
        """Do nothing: masks are in the weights already."""

    def on_before_optimizer_step(self) -> None:
        """Let the pruner read the gradients, which must not be clipped yet."""
        self._lr = learning_rate(self.optimizer, self.pruner)
        self._counted.before()

    def on_after_optimizer_step(self) -> None:
        """Let the pruner mask what the optimizer made of the weights."""
        self._counted.after(self._lr)

    def on_step_end(self) -> None:
        """Do the same, if the optimizer has stepped in this batch and no other hook has seen to it."""
        if self._counted.is_open:
            self._counted.after(self._lr)

    def on_epoch_end(self) -> None:
        """Do nothing more than ``on_step_end``, which a loop may have left out."""
        self.on_step_end()

    def on_train_end(self) -> None:
        """Let the pruner decide for good; ``keep_plan`` then says which units stay, None for single weights."""
        self.on_step_end()
        self.keep_plan = self.pruner.finish()
        self._is_finished = True

    def fit(
        self,
        train_function: Callable[[nn.Module], Any],
        evaluate_function: Callable[[nn.Module], Any] | None = None,
    ) -> nn.Module:
        """Train with ``train_function``, which calls the hooks, and return the model, pruned.

        What ``evaluate_function`` then returns is in ``score``. Raises ``ValueError`` for a function that calls no
        hook, and so would prune nothing.
        """
        before, self._is_finished = self.num_steps, False
        self.on_train_begin()
        train_function(self.model)
        if self.num_steps == before and not self._counted.is_open:
            raise ValueError("train_function: must call on_before_optimizer_step before each step, got no call of it")
        if not self._is_finished:
            self.on_train_end()
        if evaluate_function is not None:
            self.score = evaluate_function(self.model)
        return self.model

    def state_dict(self) -> dict[str, Any]:
        """Return the pruner's state and how many steps were done."""
        return self._counted.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned, after the model's own; ``ValueError`` when it does not fit."""
        self._counted.load_state_dict(state)
