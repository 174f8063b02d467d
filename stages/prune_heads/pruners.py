"""The pruner of heads that a recipe asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import nn

from pipeline.surgery.groups import PruningGroup
from pipeline.surgery.keep_plan import KeepPlan
from stages.prune_heads.config import PruneHeadsConfig
from stages.prune_heads.movement import MovementPruner, MovementSettings
from stages.ranking import global_counts, share_count
from stages.repair.at_the_cut import RepairedAtTheCut
from stages.repair.repair import Repair
from stages.schedules import Rounds, Span
from stages.taylor import Taylor
from stages.unit_pruner import Importances, Scorer, UnitPruner
from stages.unit_weights import check_learning
from stages.weight_norm import WeightNorm


def build_pruner(
    model: nn.Module,
    groups: Sequence[PruningGroup],
    config: PruneHeadsConfig,
    span: Span,
    num_steps: int,
    repair: Repair | None = None,
) -> MovementPruner | RepairedAtTheCut | UnitPruner:
    """Return the pruner of ``config``; raises ``ValueError`` for settings that do not fit the model's heads.

    ``repair`` refits the layers: at the cut, where blocks were masked; at each round, where heads go by importance.
    """
    heads = [group for group in groups if group.kind == "heads"]
    _check_budget(heads, config)
    if config.criterion != "movement":
        return _ranking_pruner(model, heads, config, span, None if repair is None else partial(repair.as_it_is, model))
    settings = MovementSettings(
        granularity=config.granularity,
        block_size=config.block_size,
        sparsity=config.sparsity,
        threshold=config.threshold,
        regular_scale=config.regular_scale,
        score_learning_rate=config.score_learning_rate,
        min_heads_per_layer=config.min_heads_per_layer,
    )
    pruner = MovementPruner(model, heads, settings, span=span, num_steps=num_steps)
    check_learning((masked.weight for masked in pruner.layout.weights), config.freeze)
    return pruner if repair is None else RepairedAtTheCut(pruner, model, repair)


def _ranking_pruner(
    model: nn.Module,
    heads: Sequence[PruningGroup],
    config: PruneHeadsConfig,
    span: Span,
    repair: Callable[[KeepPlan], None] | None,
) -> UnitPruner:
    """Return the pruner that lets the least important heads of all layers go, as many as the schedule asks for."""
    most = _most_removed(heads, config)
    num_removed = share_count(sum(group.num_units for group in heads), config.sparsity or 0.0)

    def counts(importances: Importances, progress: float) -> Mapping[str, int]:
        return global_counts(importances, round(progress * num_removed), most)

    if config.criterion == "l1":
        scorer: Scorer = WeightNorm(model, heads)
    else:
        scorer = Taylor(model, heads)
        check_learning(scorer.weights(), config.freeze)
    return UnitPruner(
        model,
        heads,
        scorer=scorer,
        counts=counts,
        rounds=ranking_rounds(config, span),
        repair=repair,
        cuts=config.cut_at_rounds,
    )


def ranking_rounds(config: PruneHeadsConfig, span: Span) -> Rounds:
    """Return when heads go: by weight, which needs no gathering, at each step of the span, else in the rounds asked."""
    return Rounds(span, max(1, span.end - span.begin) if config.criterion == "l1" else config.rounds)


def _most_removed(heads: Sequence[PruningGroup], config: PruneHeadsConfig) -> dict[str, int]:
    """Return how many heads of each layer may go."""
    return {group.name: max(0, group.num_units - config.min_heads_per_layer) for group in heads}


def _check_budget(heads: Sequence[PruningGroup], config: PruneHeadsConfig) -> None:
    num_heads, removable = sum(group.num_units for group in heads), sum(_most_removed(heads, config).values())
    if config.sparsity is not None and share_count(num_heads, config.sparsity) > removable:
        raise ValueError(
            f"sparsity: must be at most {removable / num_heads:.4g} to leave every layer min_heads_per_layer "
            f"({config.min_heads_per_layer}), got {config.sparsity}"
        )
