"""Models from a recipe's ``config``, and what a task decides of any model's config."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import StrictDataclassError

from pipeline.errors import RecipeError
from pipeline.surgery.architectures import CONDENSED_PREFIX, FAMILIES, Family, family_of_type

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task

HEAD_FIELDS = ("num_labels", "id2label", "label2id", "problem_type")
"""What a task decides of any model's config; its other fields are sizes for a model from scratch."""
EVERY_CONFIG = (*HEAD_FIELDS, "output_attentions")
"""Keys that each config takes beside its fields."""
UNBUILDABLE = (ValueError, TypeError, KeyError, ArithmeticError, RuntimeError, AttributeError, StrictDataclassError)
"""What transformers raises for sizes that contradict each other."""
TOO_LARGE = 2**31
"""Of layers, units or tokens: transformers would build them until the memory is full."""


def model_from_config(settings: Mapping[str, Any], task: Task) -> PreTrainedModel:
    """Return a model with new weights from a recipe's ``config``, sizes it leaves out taken from the task."""
    model_type = str(settings.get("model_type", ""))
    if model_type.startswith(CONDENSED_PREFIX) or not model_type:
        raise RecipeError(f"model.config.model_type: must be one of {', '.join(FAMILIES)}, got {model_type!r}")
    family = family_for(model_type, task)
    given = {name: value for name, value in settings.items() if name != "model_type"}
    model_class = family.model_class(task.auto_model, model_type)
    config_class = model_class.config_class
    _check_fields(config_class, given)
    _check_head(given, head_fields(task))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            model = model_class(config_class(**{**task.config_fields(), **given, **head_fields(task)})).float()
    except UNBUILDABLE as error:
        raise RecipeError(f"model.config: {model_type} cannot be built so ({reason_of(error)})") from None
    empty = next((name for name, parameter in model.named_parameters() if parameter.numel() == 0), None)
    if empty is not None:
        raise RecipeError(f"model.config: {model_type} cannot be built so ({empty} would be empty)")
    return model


def family_for(model_type: str, task: Task) -> Family:
    """Return the family of ``model_type``, registered; raises ``RecipeError`` when it cannot do ``task``."""
    family = family_of_type(model_type)
    if task.auto_model not in family.auto_classes:
        able = [other.model_type for other in FAMILIES.values() if task.auto_model in other.auto_classes]
        raise RecipeError(f"model: {model_type!r} cannot do the task {task.name}; {', '.join(able)} can")
    family.register()
    return family


def head_fields(task: Task) -> dict[str, Any]:
    """Return what ``task`` decides of the config of any model."""
    return {name: value for name, value in task.config_fields().items() if name in HEAD_FIELDS}


def reason_of(error: BaseException) -> str:
    """Return an error of a library in one line."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split())[:300] or type(error).__name__


def _check_head(given: Mapping[str, Any], decided: Mapping[str, Any]) -> None:
    """Refuse what the task decides otherwise; names of classes by their numbers may have these as text."""
    for name in HEAD_FIELDS:
        said = given.get(name, decided[name])
        if name == "id2label" and isinstance(said, Mapping):
            said = {int(number) if str(number).isdigit() else number: label for number, label in said.items()}
        if said != decided[name]:
            raise RecipeError(
                f"model.config.{name}: the task's labels decide it: {decided[name]!r}, got {given[name]!r}; leave it "
                "out, and say task.labels or task.regression where the task should have others"
            )


def _check_fields(config_class: Any, given: Mapping[str, Any]) -> None:
    """Refuse a misspelt field, which transformers would keep and never read, and sizes no memory holds."""
    known = {*(field.name for field in fields(config_class)), *config_class.attribute_map, *EVERY_CONFIG}
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            if name == "attn_implementation":
                hint = ": saved models do not hold it, so that only the first stage would have it; leave it out"
            raise RecipeError(f"model.config.{name}: {config_class.__name__} has no such field{hint}")
        if isinstance(given[name], int) and abs(given[name]) >= TOO_LARGE:
            raise RecipeError(f"model.config.{name}: must be below {TOO_LARGE}, got {given[name]}")
