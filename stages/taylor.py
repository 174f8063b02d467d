"""First-order Taylor importance (Molchanov et al. 2019): the change of the loss that removing a unit would make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.surgery.groups import PruningGroup
from stages.unit_weights import UnitWeight, consumer_weight, producer_weights

Form = Literal["gate", "nni"]


class Taylor:
    """A ``Scorer`` that adds up, over the steps of an interval, the squared first-order effect of each unit.

    The gate form squares the whole unit's effect, ``(Σ_k W2[k, c] · dL/dW2[k, c])²``, which equals that of a gate on
    its activation, ``(Σ_tokens a_c · dL/da_c)²``. NNI's form adds the squares of its single input weights,
    ``Σ_j (W1[c, j] · dL/dW1[c, j])²``, over all producers. Importances are means over the steps observed.
    """

    def __init__(self, model: nn.Module, groups: Sequence[PruningGroup], *, form: Form = "gate") -> None:
        self._model = model
        self._form = form
        self._weights = self._weights_of([group for group in groups if group.num_units > 0])
        self._sums = {name: torch.zeros(weights[0].num_units) for name, weights in self._weights.items()}
        self._num_observed = torch.zeros((), dtype=torch.int64)

    def observe(self) -> None:
        """Add the effects of one step, read from the weights and their gradients; nothing where these overflowed."""
        self._num_observed += 1
        effects = {name: self._effects(weights) for name, weights in self._weights.items()}
        if all(torch.isfinite(effect).all() for effect in effects.values()):
            for name, effect in effects.items():
                self._sums[name] = self._sums[name].to(effect.device).add_(effect)

    def importances(self) -> dict[str, Tensor]:
        """Return the mean squared effect of each unit over the steps observed since the last ``reset``."""
        assert self._num_observed > 0, "a round judges by at least one step, for without any all units are alike"
        return {name: sums / int(self._num_observed) for name, sums in self._sums.items()}

    def weights(self) -> list[UnitWeight]:
        """Return the weights whose gradients are read."""
        return [weight for weights in self._weights.values() for weight in weights]

    def reset(self) -> None:
        """Start the sums at zero again."""
        self._num_observed.zero_()
        for sums in self._sums.values():
            sums.zero_()

    def narrow(self, groups: Sequence[PruningGroup], kept: Mapping[str, Tensor]) -> None:
        """Count in ``groups`` from now on; the sums of the units that stay go on."""
        self._weights = self._weights_of(groups)
        self._sums = {name: sums[kept[name].to(sums.device)] for name, sums in self._sums.items()}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the sums and how many steps they hold."""
        return {"observed": self._num_observed, **{f"sum.{name}": sums for name, sums in self._sums.items()}}

    def _weights_of(self, groups: Sequence[PruningGroup]) -> dict[str, tuple[UnitWeight, ...]]:
        model, is_gate = self._model, self._form == "gate"
        return {g.name: (consumer_weight(model, g),) if is_gate else producer_weights(model, g) for g in groups}

    def _effects(self, weights: Sequence[UnitWeight]) -> Tensor:
        """Return each unit's effect by all of a group's ``weights``, ``(num_units,)``."""
        return torch.stack([self._effect(weight) for weight in weights]).sum(dim=0)

    def _effect(self, weight: UnitWeight) -> Tensor:
        """Return one weight's part of each unit's squared effect in this step, ``(num_units,)``."""
        gradient = weight.gradient()
        if gradient is None:
            return torch.zeros(weight.num_units, device=weight.parameter.device)
        product = weight.by_unit(weight.weight() * gradient)
        if self._form == "gate":
            return product.sum(dim=(1, 2), dtype=torch.float32).square()
        return product.square().sum(dim=(1, 2), dtype=torch.float32)
