"""What a sparsify stage will touch, told before it runs, from the shapes alone."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from torch import nn

from stages.sparsify.cautions import faded_embeddings
from stages.sparsify.config import SparsifyConfig
from stages.sparsify.domains import Domain, build_domains
from stages.sparsify.weights import MatrixWeight

NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.|$)")


def touched_lines(config: SparsifyConfig, model: nn.Module) -> list[str]:
    """Return which layers the stage touches and how many weights, a line for each kind of layer.

    ``model`` may have shapes and no numbers. Raises ``ValueError`` for settings that do not fit it.
    """
    if not config.enabled:
        return ["touches nothing: enabled is false"]
    domains = build_domains(model, config)
    lines = [line for domain in domains for line in _domain_lines(domain)]
    caution = faded_embeddings(model, domains)
    return [*lines, caution] if caution else lines


def _domain_lines(domain: Domain) -> list[str]:
    settings, weights = domain.settings, [blocks.weight for blocks in domain.layers]
    which = f"{settings.label.removesuffix('.')}: " if settings.label else ""
    layers = "layer" if len(weights) == 1 else "layers"
    if settings.pattern_lock:
        what = "keeps the zeros there are"
    else:
        _, zeros = domain.limits(settings.sparsity)
        what = f"makes {zeros:,} zero ({settings.sparsity:.4g}, pattern {settings.pattern}, {settings.criterion})"
    lines = [f"{which}touches {domain.num_weights:,} weights in {len(weights)} {layers}, {what}"]
    lines += [f"  {kind}" for kind in _kinds(weights)]
    return lines + [f"  stays dense, {settings.pattern} does not divide it: {kind}" for kind in _kinds(domain.dense)]


def _kinds(weights: Iterable[MatrixWeight]) -> list[str]:
    """Return a line for the weights of one shape whose names differ by numbers alone."""
    alike: dict[tuple[str, tuple[int, ...]], list[list[int]]] = defaultdict(list)
    for weight in weights:
        shape = tuple(weight.matrix(weight.parameter).shape)
        alike[NUMBER.sub("#", weight.name), shape].append([int(number) for number in NUMBER.findall(weight.name)])
    return [_kind(name, shape, numbers) for (name, shape), numbers in alike.items()]


def _kind(name: str, shape: Sequence[int], numbers: Sequence[Sequence[int]]) -> str:
    for seen in zip(*numbers, strict=True):
        low, high = min(seen), max(seen)
        name = name.replace("#", str(low) if low == high else f"{{{low}…{high}}}", 1)
    times = f"{len(numbers)} × " if len(numbers) > 1 else ""
    return f"{name}  {times}({' × '.join(map(str, shape))})"
