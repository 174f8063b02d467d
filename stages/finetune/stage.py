"""The finetune stage."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.recipe.training import StageConfig
from pipeline.stage import StageContext, StageResult
from stages.finetune.config import FinetuneConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task

logger = logging.getLogger(__name__)


class Finetune:
    """Train the parent's model on the task's own loss."""

    Config: ClassVar[type[StageConfig]] = FinetuneConfig
    version: ClassVar[int] = 1
    provides_teacher: ClassVar[bool] = True

    def needs_teacher(self, config: Any) -> bool:
        """Say no: the labels are all that it learns from."""
        return False

    def check(
        self, config: Any, model: PreTrainedModel, task: Task, teacher: Callable[[], PreTrainedModel | None]
    ) -> None:
        """Accept every model."""

    def run(self, context: StageContext) -> StageResult:
        """Return the model trained."""
        from pipeline.training.loop import task_objective, train

        if context.config.teacher is not None:
            ignored = f"stages.{context.name}.teacher: {context.config.teacher}"
            logger.warning("%s has no effect: finetune learns from the labels alone; use distill", ignored)
        model = context.load_model()
        training = train(
            model,
            task=context.task,
            config=context.config,
            objective=task_objective,
            seed=context.seed,
            work_dir=context.work_dir,
            log=context.log,
            name=context.name,
        )
        return StageResult(model=model, details=training.details())
