"""Learning from the teacher: finds it, checks that it fits, and returns the loss."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pipeline.allowance import report_tokens
from pipeline.errors import RecipeError
from pipeline.teaching.cache import TeacherCache
from pipeline.training.loop import Objective
from stages.distill.objective import Distillation, check_teacher, check_tokens
from stages.distill.relations import Relations

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.stage import StageContext
    from stages.distill.config import DistillWeights

logger = logging.getLogger(__name__)


def distillation(context: StageContext, student: PreTrainedModel, weights: DistillWeights) -> Objective:
    """Return the distillation loss; raises ``RecipeError`` when there is no teacher, or one that does not fit."""
    teacher = context.load_teacher()
    if teacher is None:
        raise RecipeError(f"stages.{context.name}.teacher: there is none; name one, or put a finetune stage before")
    try:
        check_teacher(student, teacher, weights)
        if weights.hidden_weight > 0 or weights.relations_weight > 0:
            check_tokens(report_tokens(student, context.task), report_tokens(teacher, context.task))
    except ValueError as error:
        raise RecipeError(f"stages.{context.name}.{error}") from None
    where = f"stages.{context.name}" + ("" if weights is context.config else ".distill")
    for name in weights.without_effect():
        logger.warning("%s.%s: %s has no effect while the weight of its term is 0", where, name, getattr(weights, name))
    relations = _relations(student, teacher, weights, where)
    if relations is None:
        weights = weights.model_copy(update={"relations_weight": 0.0})
    names = () if relations is None else relations.names()
    return Distillation(teacher, weights, context.task, _cache_maker(context, weights, names))


def check_weights(
    weights: DistillWeights, student: PreTrainedModel, teacher: Callable[[], PreTrainedModel | None], prefix: str = ""
) -> None:
    """Raise ``ValueError`` where what ``weights`` compares is not there in both; settings begin with ``prefix``."""
    found = teacher()
    if found is None:
        return
    check_teacher(student, found, weights)
    if weights.relations_weight > 0:
        try:
            Relations(found, weights).student(student)
        except ValueError as error:
            raise ValueError(f"{prefix}{error}") from None


def _relations(
    student: PreTrainedModel, teacher: PreTrainedModel, weights: DistillWeights, where: str
) -> Relations | None:
    """Return what is compared of the two models' attention; None where nothing is to be, or no head is left to."""
    if weights.relations_weight == 0:
        return None
    try:
        relations = Relations(teacher, weights)
        groups = {"teacher": relations.teacher, "model": relations.student(student)}
    except ValueError as error:
        raise RecipeError(f"{where}.{error}") from None
    for whose, group in groups.items():
        if group.num_units == 0:
            logger.warning("%s.relations_weight: no effect, for the %s has no %s left", where, whose, group.name)
            return None
    return relations


def _cache_maker(
    context: StageContext, weights: DistillWeights, projections: tuple[str, ...]
) -> Callable[..., TeacherCache] | None:
    shelf = None if weights.cache_teacher is False else context.teacher_shelf()
    if shelf is None:
        return None
    return partial(
        TeacherCache,
        shelf,
        context.task,
        setting=weights.cache_teacher,
        has_hidden=weights.hidden_weight > 0,
        projections=projections,
        work_dir=context.work_dir,
        title=context.name,
    )
