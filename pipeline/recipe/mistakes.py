"""Collects every mistake of a recipe, so that one error names them all with file, line and dotted path."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError

LONGEST_VALUE = 60


@dataclass(frozen=True)
class Origin:
    """Where a value was written: a file and a line, ``--set``, or a mapping handed over in Python."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def short(self) -> str:
        """Return the file's name and the line, for the column that says where a value came from."""
        name = self.source if self.line is None else Path(self.source).name
        return str(Origin(name, self.line))


@dataclass(frozen=True)
class Mistake:
    """One wrong value: where it stands, its dotted path, and a sentence."""

    origin: Origin
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.origin}: {self.path}: " if self.path else f"{self.origin}: "
        return " ".join(f"{where}{self.message}".split("\n"))


def refuse(mistakes: list[Mistake]) -> None:
    """Raise one ``RecipeError`` that lists ``mistakes``, a line each, in the order of the file; none: return."""
    if mistakes:
        ordered = sorted(mistakes, key=lambda mistake: (mistake.origin.source, mistake.origin.line or 0))
        raise RecipeError("\n".join(dict.fromkeys(str(mistake) for mistake in ordered)))


def shown(value: Any) -> str:
    """Return ``value`` as a recipe would spell it, on one line and not longer than a message can take."""
    text = _spelled(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def did_you_mean(name: Any, known: list[str]) -> str:
    """Return `` (did you mean 'x'?)`` when a known name is near, else an empty string."""
    near = get_close_matches(str(name), known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _spelled(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_spelled(item) for item in value) + "]"
    return repr(value)
