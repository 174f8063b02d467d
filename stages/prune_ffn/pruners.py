"""The pruner of FFN channels that a recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from pipeline.surgery.groups import PruningGroup
from pipeline.surgery.keep_plan import KeepPlan
from stages.prune_ffn.config import PruneFfnConfig
from stages.prune_ffn.targets import build_target, heads_kept
from stages.prune_ffn.taylor import Taylor
from stages.repair.repair import Repair
from stages.schedules import Rounds, Span
from stages.unit_pruner import UnitPruner
from stages.weight_norm import WeightNorm


def build_pruner(
    model: nn.Module,
    groups: Sequence[PruningGroup],
    config: PruneFfnConfig,
    span: Span,
    removed_before: KeepPlan | None,
    repair: Repair | None = None,
) -> UnitPruner:
    """Return the pruner of ``config``; raises ``ValueError`` for settings that do not fit the model's layers.

    ``removed_before``, relative to the first model, tells how many heads each layer has lost. ``repair`` refits the
    layers at each round.
    """
    channels = [group for group in groups if group.kind == "channels"]
    target = build_target(config, channels, heads_kept(groups, removed_before))
    scorer = WeightNorm(model, channels) if config.criterion == "l1" else Taylor(model, channels, form=config.form)
    refit = None if repair is None else partial(repair, model, channels)
    return UnitPruner(model, channels, scorer=scorer, counts=target, rounds=Rounds(span, config.rounds), repair=refit)
