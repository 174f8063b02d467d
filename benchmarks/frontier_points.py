"""From an encoder sparsity to heads and channels: how many of each leave a model of just that size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from pipeline.surgery.architectures import encoder_parameters
from pipeline.surgery.groups import Kind, dissect
from pipeline.surgery.unit_costs import unit_parameters

NNI_RATIO = 0.5


@dataclass(frozen=True)
class Sizes:
    """What a model is made of: its units of each kind, the parameters that one unit is, and those of all layers."""

    num_heads: int
    num_channels: int
    parameters_per_head: int
    parameters_per_channel: int
    encoder_parameters: int

    def encoder_sparsity(self, heads: int, channels: int) -> float:
        """Return the share of the layers' parameters that is gone when so many units stay."""
        gone = (self.num_heads - heads) * self.parameters_per_head
        gone += (self.num_channels - channels) * self.parameters_per_channel
        return gone / self.encoder_parameters


@dataclass(frozen=True)
class Point:
    """A place on the frontier: the per cent asked for, and the units that stay."""

    percent: float
    heads: int
    channels: int
    sizes: Sizes

    @property
    def encoder_sparsity(self) -> float:
        """The share of the layers' parameters that goes: what was asked, or the next more that whole units allow."""
        return self.sizes.encoder_sparsity(self.heads, self.channels)

    def overrides(self, *, with_budget: bool = False) -> list[str]:
        """Return the settings that make the pruning stages stop here, or leave that to a budget of the recipe."""
        heads = 1 - self.heads / self.sizes.num_heads
        channels = 1 - self.channels / self.sizes.num_channels
        settings: dict[str, float | str] = {"prune_ffn.scope": "global"}
        settings["prune_heads.sparsity"] = "null" if with_budget else heads
        settings["prune_ffn.sparsity"] = "null" if with_budget else channels
        return [f"stages.{path}={value}" for path, value in settings.items()]


def model_sizes(model: nn.Module) -> Sizes:
    """Return the sizes of a model whose layers are all alike; it may be on the meta device."""
    groups = dissect(model)

    def one(kind: Kind) -> int:
        (size,) = {unit_parameters(model, group) for group in groups if group.kind == kind}
        return size

    def count(kind: Kind) -> int:
        return sum(group.num_units for group in groups if group.kind == kind)

    return Sizes(count("heads"), count("channels"), one("heads"), one("channels"), encoder_parameters(model))


def folder_sizes(folder: Path) -> Sizes:
    """Return the sizes of the model in ``folder``, from its config alone."""
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        return model_sizes(AutoModelForSequenceClassification.from_config(config))


def find_point(sizes: Sizes, percent: float, *, ratio: float = NNI_RATIO, heads: int | None = None) -> Point:
    """Return the point of at least ``percent`` encoder sparsity, by less than the parameters of one channel more.

    Of all pairs of counts that give it, the one whose share of channels is nearest to ``ratio`` times its share of
    heads: with NNI's ratio of a half a layer's channels are thinned out twice as much as its heads. With ``heads`` so
    many stay, and channels fill the rest.
    """
    gone_at_least = -int(-sizes.encoder_parameters * percent // 100)
    units = sizes.num_heads * sizes.parameters_per_head + sizes.num_channels * sizes.parameters_per_channel
    spare = units - gone_at_least
    counts = range(1, sizes.num_heads + 1) if heads is None else [heads]
    pairs = [(count, _channels_left(sizes, spare, count)) for count in counts]
    fitting = [pair for pair in pairs if 1 <= pair[1] <= sizes.num_channels]
    if not fitting and heads is not None:
        raise SystemExit(f"--heads: must leave room for a channel at --points {percent:g}, got {heads}")
    if not fitting:
        most = 100 * sizes.encoder_sparsity(1, 1)
        raise SystemExit(f"--points: must leave a head and a channel, at most {most:.2f} for this model, got {percent}")
    kept, channels = min(fitting, key=lambda pair: _imbalance(sizes, *pair, ratio))
    return Point(percent, kept, channels, sizes)


def _channels_left(sizes: Sizes, spare: int, heads: int) -> int:
    return (spare - heads * sizes.parameters_per_head) // sizes.parameters_per_channel


def _imbalance(sizes: Sizes, heads: int, channels: int, ratio: float) -> float:
    return abs(channels / sizes.num_channels - ratio * heads / sizes.num_heads)


def points_table(points: Iterable[Point]) -> list[tuple[str, ...]]:
    """Return a row per point: asked, exact, heads, channels."""
    return [
        (
            f"{point.percent:g}%",
            f"{point.encoder_sparsity:.3%}",
            f"{point.heads} of {point.sizes.num_heads}",
            f"{point.channels} of {point.sizes.num_channels}",
        )
        for point in points
    ]
