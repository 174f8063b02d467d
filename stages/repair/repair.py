"""Refit consumers to real inputs, so that what they put out changes least when units go (OBS; ZipLM, by layer)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.surgery.equality import evaluation_mode
from pipeline.surgery.groups import PruningGroup, checked_plan, dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.surgery.masking import kept_features
from stages.repair.calibration import Calibration, observe, real_tokens
from stages.repair.least_squares import Sums
from stages.unit_weights import consumer_weight

if TYPE_CHECKING:
    from pipeline.stage import StageContext


@dataclass(frozen=True)
class Repair:
    """Writes into each consumer the kept columns and the bias that bring its output nearest to what it was.

    With ``K`` the kept columns, ``X`` a consumer's inputs over the tokens of ``calibration``, and ``R`` what its
    output lacks once only ``K`` is read, ``W_K`` grows by ``Rᵀ X_K (X_Kᵀ X_K + δI)⁻¹`` (inputs centred, and the bias
    by what the means then lack). Where ``R`` is the part of the columns that go, ``X_S W_Sᵀ``, that is the closed
    form ``W H[:, K] (H[K, K])⁻¹`` with ``H = XᵀX + δI``: OBS for all of ``S`` at once, one for heads and channels.
    """

    calibration: Calibration
    ridge: float

    @classmethod
    def of(cls, context: StageContext) -> Repair | None:
        """Return the repair that the stage's config asks for, None where it asks for none."""
        config = context.config.repair
        if config is None:
            return None
        rows = Calibration(context.task, config.rows, context.seed, context.config.batch_size)
        return cls(rows, config.ridge)

    def __call__(
        self, model: nn.Module, groups: Sequence[PruningGroup], plan: KeepPlan, *, reference: nn.Module | None = None
    ) -> None:
        """Refit ``model``, in place, for the cut that ``plan`` makes in ``groups``; columns that go stay as they are.

        Outputs are to stay those of ``reference``, by default of ``model`` itself with all its units: then only
        consumers that lose units change. Modes and random generators are as before afterwards.
        """
        whole = checked_plan(tuple(groups), KeepPlan({g.name: plan[g.name] for g in groups if g.name in plan}))
        refits = {group.consumer: _Refit(model, group, whole[group.name]) for group in groups}
        if reference is None:
            refits = {path: refit for path, refit in refits.items() if refit.loses_something()}
        if not refits:
            return
        with evaluation_mode(model):
            for inputs, mask in self.calibration.batches():
                wanted = {} if reference is None else _outputs(reference, list(refits), inputs)
                observe(model, inputs, refits, partial(_add, refits, wanted, mask))
        for refit in refits.values():
            refit.write(self.ridge)

    def as_it_is(self, model: nn.Module, plan: KeepPlan) -> None:
        """Refit ``model`` for ``plan``, which counts in the units that it has by now, others having been cut out."""
        self(model, [group for group in dissect(model) if group.name in plan], plan)


class _Refit:
    """One consumer, the columns it keeps, and the sums over what it read."""

    def __init__(self, model: nn.Module, group: PruningGroup, kept: Kept) -> None:
        self._weight = consumer_weight(model, group)
        bias = model.get_submodule(group.consumer).bias
        self._bias = bias if isinstance(bias, nn.Parameter) else None
        self._kept = kept_features(kept, group, device=self._weight.parameter.device)
        self._sums: Sums | None = None

    def loses_something(self) -> bool:
        """Say whether a column that goes is anything but zero."""
        return bool(self._weight.weight()[~self._kept].any())

    def add(self, inputs: Tensor, wanted: Tensor, mask: Tensor | None) -> None:
        """Add a batch: what the consumer read, and what it should put out."""
        kept = real_tokens(inputs, mask)[:, self._kept]
        residuals = real_tokens(wanted, mask) - kept @ self._columns()
        if self._bias is not None:
            residuals -= self._bias.detach().float()
        if self._sums is None:
            self._sums = Sums(kept, residuals)
        self._sums.add(kept, residuals)

    @torch.no_grad()
    def write(self, ridge: float) -> None:
        """Write the repaired columns and bias into the consumer."""
        assert self._sums is not None, "there is at least one row to calibrate on"
        weight, bias = self._sums.solve(ridge, has_bias=self._bias is not None)
        columns = self._columns().double() + weight.T
        self._weight.weight()[self._kept] = columns.to(self._weight.parameter.dtype)
        if self._bias is not None:
            self._bias.copy_(self._bias.double() + bias)

    def _columns(self) -> Tensor:
        """Return the kept columns with inputs first, ``(kept columns, outputs)``, in float32."""
        return self._weight.weight()[self._kept].float()


def _add(
    refits: Mapping[str, _Refit],
    wanted: Mapping[str, Tensor],
    mask: Tensor | None,
    path: str,
    inputs: Tensor,
    output: Tensor,
) -> None:
    """Tell a refit what its consumer read, and what it should put out: its own output where nothing else is wanted."""
    refits[path].add(inputs, wanted.get(path, output), mask)


def _outputs(reference: nn.Module, paths: Sequence[str], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what the modules at ``paths`` put out in the reference."""
    found: dict[str, Tensor] = {}

    def keep(path: str, _: Tensor, output: Tensor) -> None:
        found[path] = output

    with evaluation_mode(reference):
        observe(reference, inputs, paths, keep)
    return found
