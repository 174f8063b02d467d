"""Finds the algorithm that a stage ``uses``, without importing what is heavy in it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from pipeline.errors import RecipeError
from pipeline.stage import Stage


def load_stage(reference: Any) -> Stage:
    """Return the stage behind ``"stages.finetune:Finetune"``, a ``Stage`` class, or a stage itself.

    Raises ``RecipeError`` when the reference leads nowhere.
    """
    if isinstance(reference, type):
        return cast(Stage, reference())
    if not isinstance(reference, str):
        return cast(Stage, reference)
    module_name, colon, class_name = reference.partition(":")
    if not colon:
        raise RecipeError(f"stage reference: must be 'module:Class', got {reference!r}")
    try:
        return cast(Stage, getattr(import_module(module_name), class_name)())
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"stage reference {reference!r}: cannot be imported: {error}") from error
