"""A recipe: what to do to which model on which data, read from YAML and resolved to the last value."""

from pipeline.recipe.load import load_recipe
from pipeline.recipe.recipe import Recipe, StageRecipe
from pipeline.recipe.schema import recipe_schema
from pipeline.recipe.shipped import shipped_recipes
from pipeline.recipe.sources import DatasetSource, ModelSource, TaskSource
from pipeline.recipe.stage_lookup import load_stage
from pipeline.recipe.training import StageConfig, TrainingConfig

__all__ = [
    "DatasetSource",
    "ModelSource",
    "Recipe",
    "StageConfig",
    "StageRecipe",
    "TaskSource",
    "TrainingConfig",
    "load_recipe",
    "load_stage",
    "recipe_schema",
    "shipped_recipes",
]
