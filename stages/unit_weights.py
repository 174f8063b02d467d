"""Views of a group's weights with the units along the first axis, whichever way the layer stores them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.surgery.groups import PruningGroup


@dataclass(frozen=True, eq=False)
class UnitWeight:
    """The part of one parameter that belongs to a group: ``num_units * unit_rows`` features along ``axis``.

    Views are made anew at every call, for a model that moves to a device gives its parameters other storage.
    """

    path: str
    parameter: nn.Parameter
    num_units: int
    unit_rows: int
    axis: int
    offset: int = 0

    def weight(self) -> Tensor:
        """Return the weight as ``(num_units * unit_rows, others)``, a view to read and write without autograd."""
        return self._view(self.parameter.detach())

    def gradient(self) -> Tensor | None:
        """Return the gradient in the shape of ``weight``, a view; None where backward left none."""
        return None if self.parameter.grad is None else self._view(self.parameter.grad)

    def by_unit(self, view: Tensor) -> Tensor:
        """Return ``weight()`` or ``gradient()`` as ``(num_units, unit_rows, others)``, a view."""
        return view.view(self.num_units, self.unit_rows, view.shape[1])

    def _view(self, tensor: Tensor) -> Tensor:
        return tensor.movedim(self.axis, 0).narrow(0, self.offset, self.num_units * self.unit_rows)


def producer_weights(model: nn.Module, group: PruningGroup) -> tuple[UnitWeight, ...]:
    """Return the weights of the group's producers, a row for every output feature."""
    return tuple(
        UnitWeight(p.path, _weight(model, p.path), group.num_units, p.rows_per_unit, p.axis, p.offset)
        for p in group.producers
    )


def consumer_weight(model: nn.Module, group: PruningGroup) -> UnitWeight:
    """Return the weight of the group's consumer, a row for every input feature."""
    weight = _weight(model, group.consumer)
    return UnitWeight(group.consumer, weight, group.num_units, group.unit_size, group.consumer_axis)


def _weight(model: nn.Module, path: str) -> nn.Parameter:
    weight = model.get_submodule(path).weight
    assert isinstance(weight, nn.Parameter), path
    return weight


def check_learning(weights: Iterable[UnitWeight], freeze: Sequence[str] = ()) -> None:
    """Raise ``ValueError`` where a weight whose gradient judges units has none, or by ``freeze`` will have none."""
    for weight in weights:
        name = f"{weight.path}.weight"
        told = f"must leave the weights learning whose gradients tell what goes, such as {name}"
        if any(re.search(pattern, name) for pattern in freeze):
            raise ValueError(f"freeze: {told}, got {list(freeze)}; freeze others, or judge by weight: criterion: l1")
        if not weight.parameter.requires_grad:
            raise ValueError(f"model: {told}, which needs no gradient; or judge by weight: criterion: l1")


def lowest_first(values: Tensor) -> Tensor:
    """Return the indices that sort ``values``, ties in their own order, so that every run and process sorts alike."""
    return torch.argsort(values, stable=True)
