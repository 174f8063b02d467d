"""Pruning groups: units of a consumer's input columns and the producers' output rows that feed them."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["heads", "channels"]


@dataclass(frozen=True)
class Producer:
    """Output features of one ``Linear`` that make a group's units.

    Unit ``u`` is the features ``offset + u * rows_per_unit`` up to ``offset + (u + 1) * rows_per_unit`` along ``axis``
    of the weight (0 for ``Linear``, 1 for a transposed ``Conv1D``), and the same entries of the bias.
    """

    path: str
    rows_per_unit: int
    offset: int = 0
    axis: int = 0


@dataclass(frozen=True)
class PruningGroup:
    """Attention heads or FFN channels of one layer: what can be removed together without changing anything else.

    ``consumer`` is the path of the ``Linear`` whose input columns ``u * unit_size`` up to ``(u + 1) * unit_size`` are
    unit ``u``; ``consumer_axis`` is the axis of its weight that holds them (1 for ``Linear``).
    """

    name: str
    kind: Kind
    stack: Literal["encoder", "decoder"]
    layer: int
    producers: tuple[Producer, ...]
    consumer: str
    unit_size: int
    num_units: int
    consumer_axis: int = 1
