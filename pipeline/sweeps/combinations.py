"""From ``--vary stages.prune_heads.sparsity=0.25,0.5`` to one named set of overrides per combination."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.errors import RecipeError
from pipeline.recipe.mistakes import shown
from pipeline.sweeps.naming import meaning, name_runs

OPENING, CLOSING, QUOTES = "[{", "]}", "'\""
PLAIN_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
NOTHING_NOTED: Mapping[str, Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Axis:
    """One field that is varied: its dotted path, and its values as they would follow ``--set PATH=``."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Combination:
    """One run of a sweep: its name, which is its folder's, and the value of every varied field."""

    name: str
    values: tuple[tuple[str, str], ...]

    @property
    def overrides(self) -> tuple[str, ...]:
        """What ``--set`` would say, the run's name included."""
        return (*(f"{path}={value}" for path, value in self.values), f"name='{self.name}'")


def read_axes(vary: Sequence[str] | Mapping[str, Sequence[Any]]) -> list[Axis]:
    """Return the axes of ``{PATH: [VALUE, …]}``, or of texts as for ``--vary``."""
    if isinstance(vary, Mapping):
        return [_checked(path, tuple(_as_written(path, value) for value in values)) for path, values in vary.items()]
    return [read_axis(text) for text in vary]


def _as_written(path: str, value: Any) -> str:
    """Return ``value`` as one would write it after ``--vary PATH=``; a number of NumPy's or torch's as Python's own."""
    value = str(value) if isinstance(value, Path) else value
    if not isinstance(value, (str, bool, int, float)) and getattr(value, "shape", None) == ():
        value = value.item()
    is_plain = isinstance(value, str) and PLAIN_TEXT.fullmatch(value) and value not in ("true", "false", "null")
    try:
        return str(value) if is_plain else json.dumps(value)
    except (TypeError, ValueError):
        raise RecipeError(f"--vary: {path} must have values of plain data, got {shown(value)}") from None


def read_axis(text: str) -> Axis:
    """Return the axis in ``PATH=VALUE,VALUE``; a comma inside brackets, braces or quotes belongs to its value."""
    path, equals, values = text.partition("=")
    found = tuple(value.strip() for value in _split(values))
    if not (path.strip() and equals) or not all(found):
        raise RecipeError(f"--vary: must be PATH=VALUE,VALUE such as stages.prune_heads.sparsity=0.25,0.5, got {text}")
    return _checked(path.strip(), found)


def _checked(path: str, values: tuple[str, ...]) -> Axis:
    if path == "name":
        raise RecipeError("--vary: name cannot be varied: each run is named by its values; vary another field")
    if not values:
        raise RecipeError(f"--vary: {path} must have at least one value, got none")
    meanings = [meaning(value) for value in values]
    for value, means in zip(values, meanings, strict=True):
        if meanings.count(means) > 1:
            raise RecipeError(f"--vary: {path} has the value {shown(value)} twice; keep one of them")
    return Axis(path, values)


def combine(axes: Sequence[Axis], noted: Mapping[str, Mapping[str, str]] = NOTHING_NOTED) -> list[Combination]:
    """Return every combination of the axes' values, the last axis varied fastest, each with a name of its own.

    ``noted`` are the runs that are in the folder, by their names: one of the same values is this run, and keeps its
    name; one of other values keeps it too.
    """
    if not axes:
        raise RecipeError("--vary: must be given at least once, such as --vary seed=1,2,3")
    paths = [axis.path for axis in axes]
    for path in paths:
        if paths.count(path) > 1:
            raise RecipeError(f"--vary: {path} is given twice; list all its values in one: --vary {path}=…,…")
    runs = [dict(zip(paths, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]
    names = name_runs(runs, noted)
    return [Combination(name, tuple(values.items())) for name, values in zip(names, runs, strict=True)]


def _split(text: str) -> Iterator[str]:
    """Yield the parts of ``text`` between the commas that stand in no bracket, brace or quotes."""
    depth, quote, start = 0, "", 0
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES:
            quote = character
        elif character in OPENING:
            depth += 1
        elif character in CLOSING:
            depth -= 1
        elif character == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]
