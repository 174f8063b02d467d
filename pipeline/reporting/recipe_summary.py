"""A resolved recipe in a few lines: what was asked of which stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

UNTOLD = ("uses", "name")
TRAINING = ("learning_rate", "schedule", "batch_size", "gradient_accumulation", "weight_decay", "mixed_precision")


def recipe_in_short(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values: the model, the data, the training, and for each stage its own settings."""
    task, training = recipe.get("task", {}), recipe.get("training", {})
    about = ("type", "metric", "max_length", "train_rows", "validation_rows")
    facts = [
        ("model", in_words(recipe.get("model", {}))),
        ("data", in_words(task.get("dataset", {}))),
        ("task", in_words({name: task.get(name) for name in about})),
        ("training", in_words({name: training.get(name) for name in TRAINING})),
        ("budget", in_words(recipe.get("budget") or {})),
        *((_title(stage), stage_in_short(stage)) for stage in recipe.get("stages", ())),
    ]
    return [(name, text) for name, text in facts if text]


def stage_in_short(stage: Mapping[str, Any]) -> str:
    """Return the settings of one stage that have a value, as ``epochs 10, sparsity 0.5, distill (temperature 2)``."""
    return in_words({name: value for name, value in stage.items() if name not in UNTOLD})


def in_words(settings: Mapping[str, Any]) -> str:
    """Return nested settings in a line; those without a value, and permissions not given, are left out."""
    told = []
    for name, value in settings.items():
        if value is None or value == [] or (name == "trust_remote_code" and value is False):
            continue
        told.append(f"{name} ({in_words(value)})" if isinstance(value, Mapping) else f"{name} {_word(value)}")
    return ", ".join(told)


def _title(stage: Mapping[str, Any]) -> str:
    name = str(stage.get("name") or stage["uses"])
    return name if name == stage["uses"] else f"{name} ({stage['uses']})"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"({in_words(value)})"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(_word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
