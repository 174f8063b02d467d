"""From the recipe's ``sparsity`` to the number of channels each layer loses at each round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.surgery.groups import PruningGroup
from stages.prune_ffn.config import PruneFfnConfig
from stages.ranking import global_counts, kept_multiple, local_counts, share_count
from stages.unit_pruner import Counts, Importances


def heads_kept(groups: Sequence[PruningGroup], num_heads: int) -> dict[int, float]:
    """Return, by layer, the share that is left of the ``num_heads`` of the architecture, whoever removed the others."""
    return {group.layer: group.num_units / num_heads for group in groups if group.kind == "heads"}


def match_heads(channels: Sequence[PruningGroup], heads: Mapping[int, float], ratio: float) -> dict[str, float]:
    """Return the share of channels each layer loses, ``1 - ratio · kept heads / all heads``, as NNI does with 0.5."""
    return {group.name: 1.0 - ratio * heads.get(group.layer, 1.0) for group in channels}


@dataclass(frozen=True)
class LocalTarget:
    """Every group loses a share of its own."""

    shares: Mapping[str, float]
    multiple_of: int = 1

    def __call__(self, importances: Importances, progress: float) -> dict[str, int]:
        """Return how many units of each group go."""
        widths = {name: len(values) for name, values in importances.items()}
        counts = local_counts(widths, self.shares, progress)
        return {name: kept_multiple(count, widths[name], self.multiple_of) for name, count in counts.items()}


@dataclass(frozen=True)
class GlobalTarget:
    """All groups together lose one share, the least important units first, none more than its cap."""

    share: float
    max_share: float = 1.0
    multiple_of: int = 1

    def __call__(self, importances: Importances, progress: float) -> dict[str, int]:
        """Return how many units of each group go."""
        widths = {name: len(values) for name, values in importances.items()}
        most = {name: share_count(width, self.max_share) for name, width in widths.items()}
        total = min(share_count(sum(widths.values()), self.share), sum(most.values()))
        counts = global_counts(importances, round(progress * total), most)
        return {name: kept_multiple(count, widths[name], self.multiple_of) for name, count in counts.items()}


def build_target(config: PruneFfnConfig, channels: Sequence[PruningGroup], heads: Mapping[int, float]) -> Counts:
    """Return the target that ``config.sparsity`` asks for; raises ``ValueError`` for a list of another length."""
    sparsity, multiple_of = config.sparsity, config.multiple_of
    assert sparsity is not None, "a budget has become a share by now"
    if isinstance(sparsity, str):
        return LocalTarget(match_heads(channels, heads, config.match_heads_ratio), multiple_of)
    if isinstance(sparsity, float) and config.scope == "global":
        return GlobalTarget(sparsity, config.max_sparsity_per_layer, multiple_of)
    shares = [sparsity] * len(channels) if isinstance(sparsity, float) else list(sparsity)
    if len(shares) != len(channels):
        raise ValueError(f"sparsity: must hold one share for each of {len(channels)} layers, got {len(shares)}")
    return LocalTarget({group.name: share for group, share in zip(channels, shares, strict=True)}, multiple_of)
