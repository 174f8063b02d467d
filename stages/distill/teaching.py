"""Learning from the teacher: finds it, checks that it fits, and returns the loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pipeline.errors import RecipeError
from pipeline.teaching.cache import TeacherCache
from pipeline.training.loop import Objective
from stages.distill.objective import Distillation, check_teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.stage import StageContext
    from stages.distill.config import DistillWeights


def distillation(context: StageContext, student: PreTrainedModel, weights: DistillWeights) -> Objective:
    """Return the distillation loss; raises ``RecipeError`` when there is no teacher, or one that does not fit."""
    teacher = context.load_teacher()
    if teacher is None:
        raise RecipeError(f"stages.{context.name}.teacher: there is none; name one, or put a finetune stage before")
    try:
        check_teacher(student, teacher, weights)
    except ValueError as error:
        raise RecipeError(f"stages.{context.name}.{error}") from None
    return Distillation(teacher, weights, context.task, _cache_maker(context, weights))


def _cache_maker(context: StageContext, weights: DistillWeights) -> Callable[..., TeacherCache] | None:
    shelf = None if weights.cache_teacher is False else context.teacher_shelf()
    if shelf is None:
        return None
    return partial(
        TeacherCache,
        shelf,
        context.task,
        setting=weights.cache_teacher,
        has_hidden=weights.hidden_weight > 0,
        work_dir=context.work_dir,
        title=context.name,
    )
