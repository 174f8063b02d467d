"""Domains: layers that share a target and its settings, the stage's own or those of a group."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from stages.sparsify.allocation import Room, rooms
from stages.sparsify.blocks import Blocks, blocks_of
from stages.sparsify.config import LayerChoice, SparsifyConfig
from stages.sparsify.pattern import parse_pattern
from stages.sparsify.settings import DomainSettings, resolve_domains
from stages.sparsify.weights import MatrixWeight, chosen, matrix_weights


@dataclass(frozen=True)
class Domain:
    """The layers of a domain that its pattern divides, as blocks, and those that stay ``dense`` as it does not."""

    settings: DomainSettings
    layers: tuple[Blocks, ...]
    dense: tuple[MatrixWeight, ...]

    @property
    def num_weights(self) -> int:
        """The weights touched, of which ``sparsity`` is a share."""
        return sum(blocks.weight.parameter.numel() for blocks in self.layers)

    def limits(self, share: float) -> tuple[list[Room], int]:
        """Return every layer's limits and the number of weights that are to be zero when ``share`` of all are.

        Where all blocks have one size, the number is that of whole blocks. Raises ``ValueError`` when the layers
        together cannot give so many.
        """
        settings = self.settings
        losses = {blocks.loss for blocks in self.layers}
        unit = losses.pop() if len(losses) == 1 else 1
        target = round(share * self.num_weights / unit) * unit
        layers = [(blocks.count, blocks.loss, blocks.weight.parameter.numel()) for blocks in self.layers]
        least = min(share, settings.min_sparsity_per_layer)
        found = rooms(layers, target=target, min_share=least, max_share=settings.max_sparsity_per_layer)
        possible = sum(room.most * room.loss for room in found)
        if target > possible:
            most = math.floor(1e4 * possible / self.num_weights) / 1e4
            raise ValueError(
                f"{settings.label}sparsity: must be at most {most:g}, which is what pattern {settings.pattern} and "
                f"max_sparsity_per_layer {settings.max_sparsity_per_layer:g} let go of the {self.num_weights:,} "
                f"weights touched, got {settings.sparsity:g}"
            )
        return found, target


def build_domains(model: nn.Module, config: SparsifyConfig) -> list[Domain]:
    """Return the domains of ``model``, those of ``pick_layers``.

    Raises ``ValueError`` when these pick nothing, or none that the pattern divides.
    """
    return [_domain(settings, own) for settings, own in pick_layers(model, config)]


def pick_layers(model: nn.Module, config: SparsifyConfig) -> list[tuple[DomainSettings, list[MatrixWeight]]]:
    """Return the layers of each domain; those without layers are left out, but for a group this is an error.

    A layer belongs to the first group that picks it. Frozen weights are not touched: neither those that need no
    gradient nor those that ``freeze`` names. Raises ``ValueError`` when a group, or all together, pick nothing.
    """
    if not config.enabled:
        return []
    left = [weight for weight in matrix_weights(model) if _learns(weight, config.freeze)]
    domains: list[tuple[DomainSettings, list[MatrixWeight]]] = []
    for settings in resolve_domains(config):
        choice = settings.choice
        own = chosen(left, types=choice.types, include=choice.include, exclude=choice.exclude)
        if not own and settings.label:
            raise ValueError(f"{settings.label}include: must pick a layer that no group before picks, {_got(choice)}")
        left = [weight for weight in left if weight not in own]
        if own:
            domains.append((settings, own))
    if not domains:
        raise ValueError(f"layers: must pick at least one layer of the model, {_got(config.layers)}")
    return domains


def _domain(settings: DomainSettings, weights: Sequence[MatrixWeight]) -> Domain:
    pattern = parse_pattern(settings.pattern)
    found = [(weight, blocks_of(weight, pattern)) for weight in weights]
    layers = tuple(blocks for _, blocks in found if blocks is not None)
    dense = tuple(weight for weight, blocks in found if blocks is None)
    if not layers:
        raise ValueError(
            f"{settings.label}pattern: must divide at least one layer, but {settings.pattern} divides none; "
            f"{described(dense[0])}"
        )
    return Domain(settings, layers, dense)


def described(weight: MatrixWeight) -> str:
    """Return a weight's name with its rows and columns, as ``encoder.fc (64 × 30)``."""
    return f"{weight.name} ({' × '.join(map(str, weight.matrix(weight.parameter).shape))})"


def _learns(weight: MatrixWeight, frozen: Sequence[str]) -> bool:
    is_named = any(re.search(expression, weight.parameter_name) for expression in frozen)
    return weight.parameter.requires_grad and not is_named


def _got(choice: LayerChoice) -> str:
    return f"got types {list(choice.types)}, include {list(choice.include)}, exclude {list(choice.exclude)}"
