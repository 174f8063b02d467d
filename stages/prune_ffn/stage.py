"""The prune_ffn stage."""

from __future__ import annotations

from typing import Any, ClassVar

from pipeline.recipe.training import StageConfig
from pipeline.stage import StageContext, StageResult
from stages.prune_ffn.config import PruneFfnConfig


class PruneFfn:
    """Decide while training which FFN channels go, and cut them out."""

    Config: ClassVar[type[StageConfig]] = PruneFfnConfig
    version: ClassVar[int] = 1
    provides_teacher: ClassVar[bool] = False

    def needs_teacher(self, config: Any) -> bool:
        """Say whether distillation is on."""
        return config.distill is not None

    def run(self, context: StageContext) -> StageResult:
        """Return the condensed model, its keep plan, and the importances of every round."""
        raise NotImplementedError
