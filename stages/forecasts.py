"""What each stage leaves of a model's heads and channels, known before it runs: an exact budget, or set by training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from pipeline.forecast.units import Left, Touched, Units, UnitsLeft
from stages.prune_ffn.config import PruneFfnConfig
from stages.prune_heads.config import PruneHeadsConfig
from stages.ranking import kept_multiple, share_count
from stages.sparsify.touching import touched_lines


def all_left(config: Any, before: Left, dense_heads: int) -> Left:
    """Return the units of a stage that cuts nothing."""
    return before


def heads_left(config: PruneHeadsConfig, before: Left, dense_heads: int) -> Left:
    """Return the units after ``prune_heads``: a budget is exact in all layers together, the threshold tells nothing."""
    heads = before["heads"]
    if config.sparsity is None or heads is None:
        return {**before, "heads": None}
    return {**before, "heads": Units(heads.total - share_count(heads.total, config.sparsity))}


def channels_left(config: PruneFfnConfig, before: Left, dense_heads: int) -> Left:
    """Return the units after ``prune_ffn``, in each layer where its share is one of its own."""
    channels, sparsity = before["channels"], config.sparsity
    if channels is None or sparsity is None:
        return {**before, "channels": None}
    if isinstance(sparsity, str):
        return {**before, "channels": _matched(config, channels, before["heads"], dense_heads)}
    if isinstance(sparsity, float) and config.scope == "global":
        return {**before, "channels": _ranked(config, channels, sparsity)}
    if channels.per_layer is None:
        return {**before, "channels": None}
    shares = [sparsity] * len(channels.per_layer) if isinstance(sparsity, float) else sparsity
    if len(shares) != len(channels.per_layer):
        return {**before, "channels": None}
    counts = [_kept(width, share, config) for width, share in zip(channels.per_layer, shares, strict=True)]
    return {**before, "channels": Units.of_layers(tuple(counts))}


def _kept(width: int, share: float, config: PruneFfnConfig) -> int:
    return width - kept_multiple(share_count(width, share), width, config.multiple_of)


def _ranked(config: PruneFfnConfig, channels: Units, share: float) -> Units | None:
    """Return what one ranking over all layers leaves; rounding each layer up depends on how it falls."""
    if config.multiple_of > 1:
        return None
    removed = share_count(channels.total, share)
    if channels.per_layer is not None:
        removed = min(removed, sum(share_count(width, config.max_sparsity_per_layer) for width in channels.per_layer))
    return Units(channels.total - removed)


def _matched(config: PruneFfnConfig, channels: Units, heads: Units | None, dense_heads: int) -> Units | None:
    """Return what matching the heads leaves: exact where every head of a layer stands for as many channels."""
    if heads is None or channels.per_layer is None:
        return None
    widths = channels.per_layer

    def kept(width: int, num_heads: int) -> int:
        return _kept(width, 1.0 - config.match_heads_ratio * (num_heads / dense_heads), config)

    if heads.per_layer is not None:
        return Units.of_layers(tuple(kept(w, n) for w, n in zip(widths, heads.per_layer, strict=True)))
    by_heads = [kept(widths[0], number) for number in range(dense_heads + 1)]
    is_even = len({after - before for before, after in pairwise(by_heads)}) == 1
    if len(set(widths)) > 1 or not is_even:
        return None
    return Units(by_heads[0] * len(widths) + (by_heads[1] - by_heads[0]) * heads.total)


FORECASTS: Mapping[str, UnitsLeft] = {
    "finetune": all_left,
    "prune_heads": heads_left,
    "distill": all_left,
    "prune_ffn": channels_left,
    "sparsify": all_left,
}
"""By what a recipe ``uses``; of a stage that is not here nothing is known beforehand."""

TOUCHED: Mapping[str, Touched] = {"sparsify": touched_lines}
"""By what a recipe ``uses``: stages that change no shape tell what they will touch."""
