"""The sparsify stage."""

from __future__ import annotations

from typing import Any, ClassVar

from pipeline.recipe.training import StageConfig
from pipeline.stage import StageContext, StageResult
from stages.sparsify.config import SparsifyConfig


class Sparsify:
    """Decide while training which weights become zero; shapes stay as they are."""

    Config: ClassVar[type[StageConfig]] = SparsifyConfig
    version: ClassVar[int] = 1
    provides_teacher: ClassVar[bool] = False

    def needs_teacher(self, config: Any) -> bool:
        """Say whether distillation is on."""
        return config.distill is not None

    def run(self, context: StageContext) -> StageResult:
        """Return the model with its zeros, what share they are of, and the masks."""
        from stages.sparsify.sparsifying import sparsify

        return sparsify(context)
