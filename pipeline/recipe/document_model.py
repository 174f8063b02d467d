"""A recipe as it is written, before its stages are resolved."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pipeline.recipe.budget import BudgetSource
from pipeline.recipe.sources import ModelSource, TaskSource
from pipeline.recipe.training import TrainingConfig
from pipeline.recipe.values import Frozen, NonNegativeInteger, Text

RUN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class RecipeDocument(Frozen):
    """A recipe's keys; stages are read one by one, each by its own ``Config``."""

    extends: Text | None = Field(None, description="a recipe file or a shipped recipe's name to build on")
    name: Annotated[Text, Field(pattern=RUN_NAME, max_length=100, description="names the run's folder")]
    seed: Annotated[NonNegativeInteger, Field(lt=2**32)] = Field(42, description="every random choice follows from it")
    model: ModelSource
    task: TaskSource
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="what every stage inherits")
    budget: BudgetSource | None = Field(
        None, description="what the model is to come down to, shared by the stages that prune; null: each says itself"
    )
    stages: list[dict[str, Any]] = Field(min_length=1)
