"""A staged, resumable pipeline that compresses a Hugging Face transformer; importing it imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.api import (
        MovementPruner,
        Sparsifier,
        TaylorPruner,
        convert_config,
        evaluate,
        frontier,
        plan,
        run,
        status,
        sweep,
    )
    from pipeline.artifacts import Artifact, Run
    from pipeline.errors import ArtifactError, CompressionError, DataError, RecipeError, UnsupportedArchitecture
    from pipeline.integrations.pruned_optimizer import PrunedOptimizer
    from pipeline.integrations.trainer_callback import PruningCallback
    from pipeline.integrations.training_hooks import TrainingHooks
    from pipeline.models import load_model, register_models
    from pipeline.recipe import Recipe, load_recipe
    from pipeline.surgery.condense import condense
    from pipeline.surgery.groups import PruningGroup, dissect
    from pipeline.surgery.keep_plan import KeepPlan, Kept
    from pipeline.surgery.masking import mask_units
    from pipeline.surgery.semi_structured import to_semi_structured

_HOMES = {
    "Artifact": "pipeline.artifacts",
    "ArtifactError": "pipeline.errors",
    "CompressionError": "pipeline.errors",
    "DataError": "pipeline.errors",
    "KeepPlan": "pipeline.surgery.keep_plan",
    "Kept": "pipeline.surgery.keep_plan",
    "MovementPruner": "pipeline.api",
    "PrunedOptimizer": "pipeline.integrations.pruned_optimizer",
    "PruningCallback": "pipeline.integrations.trainer_callback",
    "PruningGroup": "pipeline.surgery.groups",
    "Recipe": "pipeline.recipe",
    "RecipeError": "pipeline.errors",
    "Run": "pipeline.artifacts",
    "Sparsifier": "pipeline.api",
    "TaylorPruner": "pipeline.api",
    "TrainingHooks": "pipeline.integrations.training_hooks",
    "UnsupportedArchitecture": "pipeline.errors",
    "condense": "pipeline.surgery.condense",
    "convert_config": "pipeline.api",
    "dissect": "pipeline.surgery.groups",
    "evaluate": "pipeline.api",
    "frontier": "pipeline.api",
    "load_model": "pipeline.models",
    "load_recipe": "pipeline.recipe",
    "mask_units": "pipeline.surgery.masking",
    "plan": "pipeline.api",
    "register_models": "pipeline.models",
    "run": "pipeline.api",
    "status": "pipeline.api",
    "sweep": "pipeline.api",
    "to_semi_structured": "pipeline.surgery.semi_structured",
}

__all__ = [
    "Artifact",
    "ArtifactError",
    "CompressionError",
    "DataError",
    "KeepPlan",
    "Kept",
    "MovementPruner",
    "PrunedOptimizer",
    "PruningCallback",
    "PruningGroup",
    "Recipe",
    "RecipeError",
    "Run",
    "Sparsifier",
    "TaylorPruner",
    "TrainingHooks",
    "UnsupportedArchitecture",
    "condense",
    "convert_config",
    "dissect",
    "evaluate",
    "frontier",
    "load_model",
    "load_recipe",
    "mask_units",
    "plan",
    "register_models",
    "run",
    "status",
    "sweep",
    "to_semi_structured",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
