"""The sparsify stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.recipe.training import StageConfig
from pipeline.stage import StageContext, StageResult
from stages.sparsify.config import SparsifyConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task


class Sparsify:
    """Decide while training which weights become zero; shapes stay as they are."""

    Config: ClassVar[type[StageConfig]] = SparsifyConfig
    version: ClassVar[int] = 1
    provides_teacher: ClassVar[bool] = False

    def needs_teacher(self, config: Any) -> bool:
        """Say whether distillation is on."""
        return config.distill is not None

    def check(
        self, config: Any, model: PreTrainedModel, task: Task, teacher: Callable[[], PreTrainedModel | None]
    ) -> None:
        """Raise ``ValueError`` for settings that do not fit the model or the teacher."""
        from stages.sparsify.sparsifying import check_sparsify

        check_sparsify(config, model, task, teacher)

    def run(self, context: StageContext) -> StageResult:
        """Return the model with its zeros, what share they are of, and the masks."""
        from stages.sparsify.sparsifying import sparsify

        return sparsify(context)
