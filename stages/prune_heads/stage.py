"""The prune_heads stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.recipe.training import StageConfig
from pipeline.stage import StageContext, StageResult
from stages.prune_heads.config import PruneHeadsConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task


class PruneHeads:
    """Decide while training which attention heads go, and cut them out."""

    Config: ClassVar[type[StageConfig]] = PruneHeadsConfig
    version: ClassVar[int] = 2
    provides_teacher: ClassVar[bool] = False

    def needs_teacher(self, config: Any) -> bool:
        """Say whether distillation is on."""
        return config.distill is not None

    def check(
        self, config: Any, model: PreTrainedModel, task: Task, teacher: Callable[[], PreTrainedModel | None]
    ) -> None:
        """Raise ``ValueError`` for settings that do not fit the model or the teacher."""
        from stages.prune_heads.pruners import build_pruner
        from stages.pruning import check_pruning

        check_pruning(
            config,
            model,
            task,
            teacher,
            lambda model, groups, span, num_steps: build_pruner(model, groups, config, span, num_steps),
        )

    def soon_fast(self, config: Any, num_steps: int) -> tuple[dict[str, Any], float] | None:
        """Return the settings that cut everything after the first step, and the share of what goes that a step lacks.

        None where masked heads cost what the others do.
        """
        from stages.prune_heads.pruners import ranking_rounds
        from stages.schedules import AT_ONCE, resolve_span

        if config.criterion == "movement" or not config.cut_at_rounds:
            return None
        rounds = ranking_rounds(config, resolve_span(config.prune_begin, config.prune_end, num_steps))
        once = {"rounds": 1} if config.criterion == "taylor" else {}
        return {**AT_ONCE, **once}, rounds.mean_progress(num_steps)

    def run(self, context: StageContext) -> StageResult:
        """Return the condensed model, its keep plan, and the scores with their history."""
        from stages.shared_budget import within_budget

        return within_budget(context, _prune)


def _prune(context: StageContext) -> StageResult:
    from stages.prune_heads.pruners import build_pruner
    from stages.pruning import prune
    from stages.repair.repair import Repair

    repair = Repair.of(context)
    return prune(
        context,
        "heads",
        lambda model, groups, span, num_steps: build_pruner(model, groups, context.config, span, num_steps, repair),
    )
