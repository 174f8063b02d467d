"""Writes what an old file says as a recipe that a person goes on with."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import SingleQuotedScalarString

from pipeline.convert.domain import Translated
from pipeline.recipe.recipe import LENGTH
from pipeline.recipe.training import TrainingConfig

SOME_MODEL: dict[str, Any] = {"model": "your/model"}
SOME_TASK: dict[str, Any] = {"task": {"type": "text-classification", "dataset": "your/data", "text": "text"}}
BARE = re.compile(r"[A-Za-z_][\w./-]*|[1-9]\d*x[1-9]\d*")
"""Text that needs no quotes, unless it is one of ``WORDS``."""
WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
LONGEST_LINE = 90
TO_FILL_IN = "To be filled in: the old file names no model and no data that can be loaded here."


class Representer(RoundTripRepresenter):
    """Writes null as such, not as nothing."""

    def represent_nothing(self, value: None) -> Any:
        """Return the node of ``null``."""
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


Representer.add_representer(type(None), Representer.represent_nothing)


def recipe_document(translated: Translated, source: Path, like: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the recipe as plain values; model, task and training are those of the recipe ``like``, if there is one."""
    given = {} if like is None else {key: like[key] for key in ("model", "task")}
    training = {**({} if like is None else _changed(like["training"])), **translated.training}
    return {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).lstrip("._-")[:100] or "converted",
        **({} if translated.seed is None else {"seed": translated.seed}),
        **({**SOME_MODEL, **SOME_TASK} if like is None else given),
        **({"training": training} if training else {}),
        "stages": [translated.stage()],
    }


def recipe_text(document: Mapping[str, Any], *, source: Path, tool: str, notes: Sequence[str], is_whole: bool) -> str:
    """Return the recipe's YAML, headed by where it comes from and by every note, and saying what is to be filled in."""
    lines = [f"# Converted from {source.name}, written for {tool}."]
    lines += [f"# {note}" for note in notes]
    parts = ["\n".join(lines) + "\n"]
    for keys in (("name", "seed"), ("model", "task"), ("training",), ("stages",)):
        values = {key: document[key] for key in keys if key in document}
        if values:
            head = f"# {TO_FILL_IN}\n" if keys[0] == "model" and not is_whole else ""
            parts.append(head + _dump(values))
    return "".join(parts)


def _dump(values: Mapping[str, Any]) -> str:
    writer = YAML()
    writer.width = 4096  # a line is never broken within a value
    writer.Representer = Representer
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    writer.dump(CommentedMap({key: _styled(value) for key, value in values.items()}), stream)
    return stream.getvalue()


def _changed(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not the defaults, without a length, which is the stage's own."""
    defaults = TrainingConfig().model_dump(mode="json")
    return {name: value for name, value in training.items() if name not in LENGTH and value != defaults[name]}


def _styled(value: Any) -> Any:
    """Return ``value`` with what holds no further collection on one line, and text quoted where it needs to be."""
    if isinstance(value, str):
        return value if BARE.fullmatch(value) and value.lower() not in WORDS else SingleQuotedScalarString(value)
    if not isinstance(value, (dict, list, tuple)):
        return value
    items = value.values() if isinstance(value, dict) else value
    is_short = len(str(value)) <= LONGEST_LINE
    is_flat = is_short and not any(isinstance(item, (dict, list, tuple)) for item in items)
    styled: Any = (
        CommentedMap({key: _styled(item) for key, item in value.items()})
        if isinstance(value, dict)
        else CommentedSeq(map(_styled, value))
    )
    if is_flat:
        styled.fa.set_flow_style()
    return styled
