"""Names the runs of a sweep by the values varied, and never as another run of its folder is named."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from pipeline.artifacts.sealed import canonical, digest
from pipeline.errors import RecipeError
from pipeline.recipe.document import read_text

NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
LONGEST_NAME = 80
"""Recipes may be called by up to 100 characters."""
MARK = 8
"""Characters of a digest that tell apart names which are cut, or written alike."""


def name_runs(runs: Sequence[Mapping[str, str]], noted: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a name for each run, given by its values: the one ``noted`` for just these, or a new one.

    A new name says each field by the fewest last parts that tell it from all others varied in the folder so far.
    """
    paths = list(dict.fromkeys(path for values in (*runs, *noted.values()) for path in values))
    labels = dict(zip(paths, short_labels(paths), strict=True))
    known = {_digest(values): name for name, values in reversed(list(noted.items()))}
    names: list[str] = []
    for values in runs:
        name = known.get(_digest(values))
        names.append(_new_name(labels, values, {*noted, *names}) if name is None else name)
    return names


def short_labels(paths: Sequence[str]) -> list[str]:
    """Return the fewest last parts of each dotted path that tell it from the others."""
    labels = []
    for path in paths:
        parts = path.split(".")
        for count in range(1, len(parts) + 1):
            label = ".".join(parts[-count:])
            if sum(other == label or other.endswith(f".{label}") for other in paths) == 1:
                break
        labels.append(label)
    return labels


def meaning(value: str) -> str:
    """Return one text for all spellings of a value: ``0.5`` and ``0.50``, ``[1,2]`` and ``[1, 2]``."""
    try:
        read = read_text(value, "value")
        return canonical(None if read is None else read.plain())
    except (RecipeError, ValueError):  # no value of a recipe, which is refused when one is read with it
        return value


def _digest(values: Mapping[str, str]) -> str:
    return digest({path: meaning(value) for path, value in values.items()})


def _new_name(labels: Mapping[str, str], values: Mapping[str, str], taken: Collection[str]) -> str:
    text = NOT_IN_NAMES.sub("_", "_".join(f"{labels[path]}-{value}" for path, value in values.items()))
    name = text if text[0].isalnum() else f"x{text}"
    if len(name) <= LONGEST_NAME and name not in taken:
        return name
    return f"{name[: LONGEST_NAME - MARK - 1]}-{_digest(values)[:MARK]}"
