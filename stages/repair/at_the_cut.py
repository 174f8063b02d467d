"""Repair where a decision changes the model: what training has seen masked comes back, or goes, only at the cut."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan
from pipeline.surgery.masking import mask_in_place
from pipeline.training.pruner import Pruner
from stages.repair.repair import Repair


class CuttingPruner(Pruner, Protocol):
    """A pruner of units whose ``finish`` writes other weights into the model than it was trained with."""

    def finish(self) -> KeepPlan:
        """Decide, and write the weights of the units that stay."""

    def tensors(self) -> dict[str, Tensor]:
        """Return what it went by."""


class RepairedAtTheCut:
    """The same pruner, after whose decision the consumers put out again what they did as they were trained."""

    def __init__(self, pruner: CuttingPruner, model: nn.Module, repair: Repair) -> None:
        self._pruner = pruner
        self._model = model
        self._repair = repair

    def before_optimizer_step(self, step: int) -> None:
        """Do what the pruner does."""
        self._pruner.before_optimizer_step(step)

    def after_optimizer_step(self, step: int, lr: float) -> None:
        """Do what the pruner does."""
        self._pruner.after_optimizer_step(step, lr)

    def finish(self) -> KeepPlan:
        """Return the pruner's decision, the consumers of its groups refitted to what they put out before it.

        One layer after the other, so that each reads what the repaired layers before it put out, without the heads
        that go: those are silenced in the model here, as the cut is about to do.
        """
        trained = copy.deepcopy(self._model)
        plan = self._pruner.finish()
        mask_in_place(self._model, plan)
        for group in dissect(self._model):
            if group.name in plan:
                self._repair(self._model, [group], plan, reference=trained)
        return plan

    def logs(self) -> dict[str, float]:
        """Return the pruner's numbers."""
        return self._pruner.logs()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the pruner's state: the repair has none."""
        return self._pruner.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the pruner's state."""
        self._pruner.load_state_dict(state)

    def tensors(self) -> dict[str, Tensor]:
        """Return what the pruner went by."""
        return self._pruner.tensors()
