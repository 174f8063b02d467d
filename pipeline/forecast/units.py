"""How many heads and channels a model has after a stage, as far as the recipe alone tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.surgery.groups import Kind

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Units:
    """The units of one kind: in all layers together, and in each where the recipe tells that too."""

    total: int
    per_layer: tuple[int, ...] | None = None

    @classmethod
    def of_layers(cls, counts: tuple[int, ...]) -> Units:
        """Return the units of which every layer's number is known."""
        return cls(sum(counts), counts)


Left = Mapping[Kind, Units | None]
"""The units of each kind; None where training sets how many."""

UnitsLeft = Callable[[Any, Left, int], Left]
"""From a stage's config, the units before it, and the heads per layer of the architecture, to the units after it."""

Touched = Callable[[Any, "nn.Module"], Sequence[str]]
"""From a stage's config and the model it will start from, shapes without numbers, to lines that tell what it touches.

Raises ``ValueError`` for settings that do not fit the model.
"""


def spread(total: int, widths: tuple[int, ...]) -> tuple[int, ...]:
    """Return ``total`` units over layers of those ``widths``, as evenly as these allow."""
    if not 0 <= total <= sum(widths):
        raise ValueError(f"total must be in [0, {sum(widths)}], got {total}")
    counts = [0] * len(widths)
    for _ in range(total):
        emptiest = min((layer for layer, width in enumerate(widths) if counts[layer] < width), key=counts.__getitem__)
        counts[emptiest] += 1
    return tuple(counts)
