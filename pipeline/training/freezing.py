"""Parameters that do not learn while a stage trains."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from pipeline.errors import RecipeError


@contextmanager
def frozen(model: nn.Module, patterns: Sequence[str], *, where: str) -> Iterator[None]:
    """Take the gradient from every parameter in whose name one of ``patterns`` is found; afterwards all is as before.

    Raises ``RecipeError``, naming the stage ``where`` it was asked for, when a pattern is found in no name or when
    nothing is left that could learn.
    """
    named = dict(model.named_parameters())
    try:
        stopped = [named[name] for name in names_to_freeze(model, patterns)]
    except ValueError as error:
        raise RecipeError(f"stages.{where}.{error}") from None
    for parameter in stopped:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in stopped:
            parameter.requires_grad_(True)


def names_to_freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the names of the parameters that learn and in which one of ``patterns`` is found.

    Raises ``ValueError`` when a pattern is found in no name or when nothing is left that could learn.
    """
    named = dict(model.named_parameters())
    found: set[str] = set()
    for pattern in patterns:
        matching = {name for name in named if re.search(pattern, name)}
        if not matching:
            first = next(iter(named), "none")
            told = f"must be found in the name of a parameter, such as {first}, got {pattern!r}"
            raise ValueError(f"freeze: {told}")
        found |= matching
    learning = {name for name, parameter in named.items() if parameter.requires_grad}
    if found and learning <= found:
        raise ValueError(f"freeze: must leave a parameter that learns, got {list(patterns)}")
    return sorted(found & learning)
