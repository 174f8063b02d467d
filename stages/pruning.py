"""What the pruning stages share: train with a pruner, measure, and cut what it decided."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from pipeline.errors import CompressionError, RecipeError
from pipeline.stage import StageContext, StageResult
from pipeline.surgery.equality import CHECKED_ROWS, condense_checked
from pipeline.surgery.groups import Kind, PruningGroup, dissect
from pipeline.training.evaluation import evaluate
from pipeline.training.loop import num_steps, task_objective, train
from pipeline.training.pruner import CutsWhileTraining, Pruner
from stages.distill.teaching import check_weights, distillation
from stages.schedules import Span, resolve_span

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task

logger = logging.getLogger(__name__)


class UnitsPruner(Pruner, Protocol):
    """A pruner of whole units that can show what it went by."""

    def tensors(self) -> dict[str, Tensor]:
        """Return scores and their history, to be kept with the model."""


Build = Callable[["PreTrainedModel", tuple[PruningGroup, ...], Span, int], UnitsPruner]
"""From a model, all its groups, the span and the steps of the stage to its pruner; ``ValueError`` if they don't fit."""


def prune(context: StageContext, kind: Kind, build: Build) -> StageResult:
    """Train the parent's model with the pruner that ``build`` returns, and cut out the units of ``kind`` it lets go.

    Raises ``RecipeError`` for settings that do not fit the model, ``CompressionError`` when nothing is left to prune.
    """
    for name in context.config.ignored():
        value = getattr(context.config, name)
        logger.warning("stages.%s.%s: %s has no effect beside the stage's other settings", context.name, name, value)
    model = context.load_model()
    groups = dissect(model)
    if not any(group.num_units for group in groups if group.kind == kind):
        raise CompressionError(f"stages.{context.name}: the model has no {kind} left to prune; take the stage out")
    total = num_steps(context.config, context.task)
    try:
        span = resolve_span(context.config.prune_begin, context.config.prune_end, total)
        pruner = build(model, groups, span, total)
    except ValueError as error:
        raise RecipeError(f"stages.{context.name}.{error}") from None
    weights = context.config.distill
    training = train(
        model,
        task=context.task,
        config=context.config,
        objective=task_objective if weights is None else distillation(context, model, weights),
        pruner=pruner,
        seed=context.seed,
        work_dir=context.work_dir,
        log=context.log,
        name=context.name,
    )
    details = {**training.details(), "prune_begin_step": span.begin, "prune_end_step": span.end}
    return cut(context, model, pruner, details)


def check_pruning(
    config: Any, model: PreTrainedModel, task: Task, teacher: Callable[[], PreTrainedModel | None], build: Build
) -> None:
    """Raise ``ValueError`` where the settings of a pruning stage do not fit the model, which stays as it is."""
    total, groups = num_steps(config, task), dissect(model)
    span = resolve_span(config.prune_begin, config.prune_end, total)
    if any(group.num_units for group in groups if group.kind == config.prunes):
        build(model, groups, span, total)
    if config.distill is not None:
        check_weights(config.distill, model, teacher, "distill.")


def cut(
    context: StageContext, model: PreTrainedModel, pruner: UnitsPruner, details: Mapping[str, object]
) -> StageResult:
    """Take the pruner's decision, condense the model, and check it on real rows against the masked one.

    The plan counts in the model that the stage began with, also where units were cut out of it while it was trained.
    Before the cut the model is as it was trained, with all its masks, those of single blocks in heads that stay, too:
    so it is scored, on the first validation split. The cut model is scored when it is committed, like that of any
    stage.
    Raises ``CompressionError`` when the condensed model computes something else than the model with units masked.
    """
    before = evaluate(model, context.task, splits=dict(islice(context.task.validation.items(), 1)))
    plan = pruner.finish()
    assert plan is not None, "a pruner of units says which units stay"
    rows = range(min(CHECKED_ROWS, len(context.task.train)))
    left_to_cut = plan.after(pruner.in_place()) if isinstance(pruner, CutsWhileTraining) else plan
    condensed = condense_checked(model, left_to_cut, context.task.train.batch(rows), consume=True)
    kept, total = (sum(numbers) for numbers in zip(*((len(g.units), g.of) for g in plan.values()), strict=True))
    logger.info("%s: %d of %d units stay", context.name, kept, total)
    metrics = {f"before_cut/{name}": value for name, value in before.items()}
    return StageResult(condensed, plan, metrics, pruner.tensors(), details)
