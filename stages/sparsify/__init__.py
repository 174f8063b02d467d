"""Zeros in the weights: in blocks or N of M, chosen by a criterion on a schedule while training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stages.sparsify.config import GroupConfig, LayerChoice, SparsifyConfig, SparsitySchedule
from stages.sparsify.stage import Sparsify

if TYPE_CHECKING:
    from stages.sparsify.sparsifier import Sparsifier

__all__ = ["GroupConfig", "LayerChoice", "Sparsifier", "Sparsify", "SparsifyConfig", "SparsitySchedule"]


def __getattr__(name: str) -> Any:
    """Import the pruner, and torch with it, when it is first asked for."""
    if name != "Sparsifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stages.sparsify.sparsifier import Sparsifier

    return Sparsifier
