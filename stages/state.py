"""Strict restoring of a pruner's tensors: a name too many, one too few or another shape is an error, never a guess."""

from __future__ import annotations

from collections.abc import Mapping, Set

from torch import Tensor


def check_names(state: Mapping[str, Tensor], expected: Set[str]) -> None:
    """Raise ``ValueError`` when ``state`` does not hold exactly the names ``expected``."""
    missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - expected)
    if missing or unknown:
        raise ValueError(f"the saved pruner does not fit: missing {missing or 'none'}, unknown {unknown or 'none'}")


def copy_into(target: Tensor, name: str, value: Tensor) -> None:
    """Copy ``value`` into ``target`` in place; raises ``ValueError`` when shape or dtype differ."""
    if value.shape != target.shape or value.dtype != target.dtype:
        raise ValueError(
            f"the saved pruner does not fit: {name} must be {target.dtype} {tuple(target.shape)}, "
            f"got {value.dtype} {tuple(value.shape)}"
        )
    target.copy_(value)
