"""The stage's work: train with the pruner, and say what became zero."""

from __future__ import annotations

import logging
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pipeline.errors import RecipeError
from pipeline.stage import StageContext, StageResult
from pipeline.training.loop import num_steps, task_objective, train
from stages.distill.teaching import check_weights, distillation
from stages.sparsify.config import SparsifyConfig
from stages.sparsify.course import resolve_course
from stages.sparsify.domains import pick_layers
from stages.sparsify.settings import resolve_domains
from stages.sparsify.sparsifier import Sparsifier
from stages.sparsify.zeros import gzip_bytes, gzip_metrics, layer_details, schedule_details, sparsity_metrics

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task

logger = logging.getLogger(__name__)


def sparsify(context: StageContext) -> StageResult:
    """Train the parent's model while its weights become zero; raises ``RecipeError`` for settings that do not fit it.

    The masks are in the tensors; the zeros themselves are in the weights, and last as long as nothing trains these
    further: a later ``sparsify`` with ``pattern_lock`` does and keeps them.
    """
    config: SparsifyConfig = context.config
    for name in config.ignored():
        value = attrgetter(name)(config)
        logger.warning("stages.%s.%s: %s has no effect beside the stage's other settings", context.name, name, value)
    model = context.load_model()
    try:
        pruner = Sparsifier(model, config, num_steps=num_steps(config, context.task))
    except ValueError as error:
        raise RecipeError(f"stages.{context.name}.{error}") from None
    weights = config.distill
    training = train(
        model,
        task=context.task,
        config=config.training(),
        objective=task_objective if weights is None else distillation(context, model, weights),
        pruner=pruner,
        seed=context.seed,
        work_dir=context.work_dir,
        log=context.log,
        name=context.name,
    )
    pruner.finish()
    return _result(context, model, pruner, training.details())


def check_sparsify(
    config: SparsifyConfig, model: PreTrainedModel, task: Task, teacher: Callable[[], PreTrainedModel | None]
) -> None:
    """Raise ``ValueError`` for settings that do not fit the model, whatever widths stages before this one leave."""
    pick_layers(model, config)
    total = num_steps(config, task)
    for settings in resolve_domains(config):
        try:
            resolve_course(settings.schedule, settings.initial_sparsity, settings.sparsity, total)
        except ValueError as error:
            raise ValueError(f"{settings.label}{error}") from None
    if config.distill is not None:
        check_weights(config.distill, model, teacher, "distill.")


def _result(context: StageContext, model: PreTrainedModel, pruner: Sparsifier, details: dict[str, Any]) -> StageResult:
    metrics = {**sparsity_metrics(model, pruner), **gzip_metrics(model, gzip_bytes(context.load_model()))}
    layers = layer_details(pruner)
    logger.info(
        "%s: %.2f%% of %s weights in %d layers are zero",
        context.name,
        100 * metrics["weight_sparsity"],
        f"{metrics['weights_touched']:,}",
        len(layers),
    )
    tensors = {f"kept.{name}": mask for name, mask in pruner.kept().items()}
    return StageResult(model, None, metrics, tensors, {**details, **schedule_details(pruner), "layers": layers})
