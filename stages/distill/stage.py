"""The distill stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.recipe.training import StageConfig
from pipeline.stage import StageContext, StageResult
from stages.distill.config import DistillConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task


class Distill:
    """Train the parent's model against the teacher."""

    Config: ClassVar[type[StageConfig]] = DistillConfig
    version: ClassVar[int] = 1
    provides_teacher: ClassVar[bool] = False

    def needs_teacher(self, config: Any) -> bool:
        """Say yes, always."""
        return True

    def check(
        self, config: Any, model: PreTrainedModel, task: Task, teacher: Callable[[], PreTrainedModel | None]
    ) -> None:
        """Raise ``ValueError`` for settings that do not fit the model or the teacher."""
        from stages.distill.teaching import check_weights

        check_weights(config, model, teacher)

    def run(self, context: StageContext) -> StageResult:
        """Return the model trained; raises ``RecipeError`` when there is no teacher to learn from."""
        from pipeline.training.loop import train
        from stages.distill.teaching import distillation

        model = context.load_model()
        training = train(
            model,
            task=context.task,
            config=context.config,
            objective=distillation(context, model, context.config),
            seed=context.seed,
            work_dir=context.work_dir,
            log=context.log,
            name=context.name,
        )
        return StageResult(model=model, details=training.details())
