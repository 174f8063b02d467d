"""From other tools' names of layers to the regular expressions of a recipe."""

from __future__ import annotations

import re
from collections.abc import Sequence

BACKREFERENCE = re.compile(r"\\[1-9]|\(\?P=|\(\?\(")
INLINE_FLAGS = re.compile(r"\(\?[aiLmsux]+\)")


def narrowed(included: Sequence[str], excluded: Sequence[str]) -> list[str]:
    """Return expressions found in the names that one of ``included`` is found in and none of ``excluded`` is.

    Raises ``ValueError`` for what is no regular expression, or cannot become a part of one.
    """
    for expression in (*included, *excluded):
        checked(expression)
    if not excluded:
        return list(included)
    for expression in (*included, *excluded):
        if BACKREFERENCE.search(expression) or INLINE_FLAGS.search(expression):
            raise ValueError(
                f"must go without back-references and inline flags beside excluded names, got {expression!r}"
            )
    barred = "|".join(f"(?:{expression})" for expression in excluded)
    return [f"^(?!.*(?:{barred})).*(?:{expression})" for expression in included]


def checked(expression: str) -> str:
    """Return a regular expression; raises ``ValueError`` for what is none."""
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"must be a regular expression, got {expression!r}: {error}") from None
    return expression


def of_weight(name: str) -> str:
    """Return the expression that finds the one layer whose weight is called ``name``; ``ValueError`` for no weight."""
    layer, dot, parameter = name.rpartition(".")
    if not dot or parameter != "weight":
        raise ValueError(f"must be names of weights, such as bert.pooler.dense.weight, got {name!r}")
    return f"^{re.escape(layer)}$"


def of_variables(expression: str) -> list[str]:
    """Return the alternatives of a TensorFlow expression that may name a matrix, with a dot for each slash.

    Scales, shifts and biases (``ln/gamma``, ``bias``) are no matrices: no layer of ours is found by them.
    """
    kept = [part for part in _alternatives(expression) if not VECTORS.search(part)]
    return [part.replace("/", r"\.") for part in kept]


VECTORS = re.compile(r"gamma|beta|bias")


def _alternatives(expression: str) -> list[str]:
    """Return the parts of ``a|(b)|c`` between the bars that are in no bracket, without brackets around a whole part."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(expression):
        depth += (letter in "([") - (letter in ")]")
        if letter == "|" and depth == 0:
            parts.append(expression[start:index])
            start = index + 1
    return [_bare(part) for part in (*parts, expression[start:]) if part]


def _bare(part: str) -> str:
    inner = part[1:-1]
    is_whole = part[:1] == "(" and part[-1:] == ")" and part[1:2] != "?" and not re.search(r"[()\\]", inner)
    return inner if is_whole else part
