"""The prune_ffn stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.recipe.training import StageConfig
from pipeline.stage import StageContext, StageResult
from stages.prune_ffn.config import PruneFfnConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from pipeline.tasks.task import Task


class PruneFfn:
    """Decide while training which FFN channels go, and cut them out of both layers: linked input shrinking."""

    Config: ClassVar[type[StageConfig]] = PruneFfnConfig
    version: ClassVar[int] = 3
    provides_teacher: ClassVar[bool] = False

    def needs_teacher(self, config: Any) -> bool:
        """Say whether distillation is on."""
        return config.distill is not None

    def check(
        self, config: Any, model: PreTrainedModel, task: Task, teacher: Callable[[], PreTrainedModel | None]
    ) -> None:
        """Raise ``ValueError`` for settings that do not fit the model or the teacher."""
        from stages.prune_ffn.pruners import build_pruner
        from stages.pruning import check_pruning

        share = 0.0 if config.sparsity is None else config.sparsity
        within = config.model_copy(update={"sparsity": share})
        check_pruning(
            config, model, task, teacher, lambda model, groups, span, _: build_pruner(model, groups, within, span)
        )

    def soon_fast(self, config: Any, num_steps: int) -> tuple[dict[str, Any], float] | None:
        """Return the settings that cut everything after the first step, and the share of what goes that a step lacks.

        None where masked channels cost what the others do.
        """
        from stages.schedules import AT_ONCE, Rounds, resolve_span

        if not config.cut_at_rounds:
            return None
        rounds = Rounds(resolve_span(config.prune_begin, config.prune_end, num_steps), config.rounds)
        return {**AT_ONCE, "rounds": 1}, rounds.mean_progress(num_steps)

    def run(self, context: StageContext) -> StageResult:
        """Return the condensed model, its keep plan, and the importances of every round."""
        from stages.shared_budget import within_budget

        return within_budget(context, _prune)


def _prune(context: StageContext) -> StageResult:
    from stages.prune_ffn.pruners import build_pruner
    from stages.pruning import prune
    from stages.repair.repair import Repair

    repair = Repair.of(context)
    return prune(
        context,
        "channels",
        lambda model, groups, span, num_steps: build_pruner(model, groups, context.config, span, repair),
    )
