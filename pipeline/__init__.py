"""A staged, resumable pipeline that compresses a Hugging Face transformer; importing it imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.api import evaluate, plan, run, status
    from pipeline.artifacts import Artifact, Run
    from pipeline.errors import ArtifactError, CompressionError, DataError, RecipeError, UnsupportedArchitecture
    from pipeline.models import register_models
    from pipeline.recipe import Recipe, load_recipe

_HOMES = {
    "Artifact": "pipeline.artifacts",
    "ArtifactError": "pipeline.errors",
    "CompressionError": "pipeline.errors",
    "DataError": "pipeline.errors",
    "Recipe": "pipeline.recipe",
    "RecipeError": "pipeline.errors",
    "Run": "pipeline.artifacts",
    "UnsupportedArchitecture": "pipeline.errors",
    "evaluate": "pipeline.api",
    "load_recipe": "pipeline.recipe",
    "plan": "pipeline.api",
    "register_models": "pipeline.models",
    "run": "pipeline.api",
    "status": "pipeline.api",
}

__all__ = [
    "Artifact",
    "ArtifactError",
    "CompressionError",
    "DataError",
    "Recipe",
    "RecipeError",
    "Run",
    "UnsupportedArchitecture",
    "evaluate",
    "load_recipe",
    "plan",
    "register_models",
    "run",
    "status",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
