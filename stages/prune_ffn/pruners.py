"""The pruner of FFN channels that a recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from pipeline.surgery.architectures import num_dense_heads
from pipeline.surgery.groups import PruningGroup
from stages.prune_ffn.config import PruneFfnConfig
from stages.prune_ffn.targets import build_target, heads_kept
from stages.repair.repair import Repair
from stages.schedules import Rounds, Span
from stages.taylor import Taylor
from stages.unit_pruner import Scorer, UnitPruner
from stages.unit_weights import check_learning
from stages.weight_norm import WeightNorm


def build_pruner(
    model: nn.Module,
    groups: Sequence[PruningGroup],
    config: PruneFfnConfig,
    span: Span,
    repair: Repair | None = None,
) -> UnitPruner:
    """Return the pruner of ``config``; raises ``ValueError`` for settings that do not fit the model's layers.

    ``repair`` refits the layers at each round.
    """
    channels = [group for group in groups if group.kind == "channels"]
    target = build_target(config, channels, heads_kept(groups, num_dense_heads(model)))
    if config.criterion == "l1":
        scorer: Scorer = WeightNorm(model, channels)
    else:
        scorer = Taylor(model, channels, form=config.form)
        check_learning(scorer.weights(), config.freeze)
    return UnitPruner(
        model,
        channels,
        scorer=scorer,
        counts=target,
        rounds=Rounds(span, config.rounds),
        repair=None if repair is None else partial(repair.as_it_is, model),
        cuts=config.cut_at_rounds,
    )
