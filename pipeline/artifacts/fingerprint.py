"""What a stage's output depends on, as a JSON document and its hash: it changes when, and only when, a result may."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.sealed import canonical, digest
from pipeline.recipe.values import settings_of

if TYPE_CHECKING:
    from pipeline.recipe.budget import StageBudget
    from pipeline.recipe.recipe import StageRecipe
    from pipeline.recipe.sources import TaskSource

MODEL_SEED = "model"
UNCOUNTED = ("dataset", "trust_remote_code", "greater_is_better")
"""Fields of a task that count elsewhere, not at all, or only where they change a result."""
FOREIGN_FIELDS = {"text-classification": ("image",), "image-classification": ("text", "max_length")}
"""What each type of task does not read."""
ABSENT = "(absent)"
SHOWN = 60


def derive_seed(seed: int, name: str) -> int:
    """Return the seed of the stage called ``name`` (or of the first model): below 2**31, and its own for each name."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1


def stage_document(
    stage: StageRecipe,
    *,
    version: int,
    seed: int,
    task: TaskSource,
    data: Mapping[str, Any],
    parent: Mapping[str, Any],
    teacher: Mapping[str, Any] | None,
    budget: StageBudget | None = None,
) -> dict[str, Any]:
    """Return what the output of ``stage`` depends on.

    ``parent`` is the content of the artifact before it, or the identity of the first model; ``teacher`` likewise: it
    enters as content, not by the name it was asked for. The stage's seed derives from ``seed`` and its name, so both
    enter. The recipe's ``budget`` enters where the stage shares it, settings marked ``LATER`` where they are not at
    their defaults, ``greater_is_better`` where the epoch of the least score is kept. Display settings (evaluations
    too, for the best epoch is judged after each epoch whatever they are), permissions to run remote code, and the
    names of recipe, run and files do not.
    """
    document = {
        "uses": stage.uses,
        "version": version,
        "config": {name: value for name, value in settings_of(stage.config).items() if name != "teacher"},
        "task": _task_settings(task),
        "data": dict(data),
        "seed": seed,
        "name": stage.name,
        "parent": dict(parent),
        "teacher": None if teacher is None else dict(teacher),
        **({} if budget is None else {"budget": budget.document()}),
    }
    return dict(json.loads(canonical(document)))


def _task_settings(task: TaskSource) -> dict[str, Any]:
    settings = task.model_dump(mode="json", exclude={*UNCOUNTED, *FOREIGN_FIELDS[task.type]})
    keeps_least = task.select is not None and task.greater_is_better is False
    return settings | ({"greater_is_better": False} if keeps_least else {})


def fingerprint(document: Mapping[str, Any]) -> str:
    """Return the sha256 of the document's canonical JSON."""
    return digest(document)


@dataclass(frozen=True)
class Change:
    """One field of a document that differs: its dotted name, its old and its new value."""

    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.field}: {_show(self.old)} → {_show(self.new)}"


def explain(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return every field in which the documents differ, in order; ``ABSENT`` stands for a field that is not there."""
    return list(_changes("", old, new))


def _changes(prefix: str, old: Any, new: Any) -> Iterator[Change]:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        if old != new or type(old) is not type(new):
            yield Change(prefix, old, new)
        return
    for key in [*old, *(key for key in new if key not in old)]:
        yield from _changes(f"{prefix}.{key}" if prefix else key, old.get(key, ABSENT), new.get(key, ABSENT))


def _show(value: Any) -> str:
    if value == ABSENT:
        return ABSENT
    text = value if _is_digest(value) else json.dumps(value, ensure_ascii=False)
    if _is_digest(value):
        return text[:12]
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _is_digest(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) in (40, 64)
        and all(character in "0123456789abcdef" for character in value)
    )
