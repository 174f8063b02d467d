"""The prune_ffn stage."""

from __future__ import annotations

from typing import Any, ClassVar

from pipeline.recipe.training import StageConfig
from pipeline.stage import StageContext, StageResult
from stages.prune_ffn.config import PruneFfnConfig


class PruneFfn:
    """Decide while training which FFN channels go, and cut them out of both layers: linked input shrinking."""

    Config: ClassVar[type[StageConfig]] = PruneFfnConfig
    version: ClassVar[int] = 3
    provides_teacher: ClassVar[bool] = False

    def needs_teacher(self, config: Any) -> bool:
        """Say whether distillation is on."""
        return config.distill is not None

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
