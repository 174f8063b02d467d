"""The baseline: a unit matters as much as its weights are large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.surgery.groups import PruningGroup
from stages.unit_weights import consumer_weight, producer_weights


class WeightNorm:
    """A ``Scorer`` by the L1 norm of all that makes a unit: its producers' rows and its consumer's columns."""

    def __init__(self, model: nn.Module, groups: Sequence[PruningGroup]) -> None:
        self._model = model
        self.narrow([group for group in groups if group.num_units > 0], {})

    def observe(self) -> None:
        """Do nothing: the weights tell it all when asked."""

    def importances(self) -> dict[str, Tensor]:
        """Return ``Σ |w|`` over the weights of each unit as they are now."""
        return {
            name: torch.stack([w.by_unit(w.weight().abs()).sum(dim=(1, 2)) for w in weights]).sum(dim=0)
            for name, weights in self._weights.items()
        }

    def reset(self) -> None:
        """Do nothing."""

    def narrow(self, groups: Sequence[PruningGroup], kept: Mapping[str, Tensor]) -> None:
        """Count in ``groups`` from now on."""
        self._weights = {
            group.name: (*producer_weights(self._model, group), consumer_weight(self._model, group)) for group in groups
        }

    def tensors(self) -> Mapping[str, Tensor]:
        """Return nothing: the model's own weights are the state."""
        return {}
