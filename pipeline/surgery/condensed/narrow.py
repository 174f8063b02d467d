"""Transformers whose layers keep fewer heads or channels: where these sit, and how a model is built at their width."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar, Literal

import torch
from torch import nn


@dataclass(frozen=True)
class Rows:
    """Output features of one linear module of a layer: block ``part`` of ``parts`` equal ones (a fused q|k|v has 3).

    ``axis`` of the weight holds them: 0 for ``Linear``, 1 for a transposed ``Conv1D``.
    """

    path: str
    part: int = 0
    parts: int = 1
    axis: int = 0


@dataclass(frozen=True)
class Coupling:
    """What can be removed together in one layer: rows of the producers with the columns of the consumer they feed.

    ``head_width`` names the layer's attribute that holds the columns of one unit; None where a unit is one column.
    """

    name: str
    kind: Literal["heads", "channels"]
    producers: tuple[Rows, ...]
    consumer: str
    head_width: str | None = None
    consumer_axis: int = 1

    def unit_size(self, layer: nn.Module) -> int:
        """Return how many columns of the consumer one unit is."""
        return 1 if self.head_width is None else int(attrgetter(self.head_width)(layer))


@dataclass(frozen=True)
class Stack:
    """Layers of one kind: ``layers`` is the path of their list, seen from the model without its head."""

    name: Literal["encoder", "decoder"]
    layers: str
    couplings: tuple[Coupling, ...]


def layers_of(model: nn.Module, stack: Stack) -> list[tuple[str, nn.Module]]:
    """Return path and module of every layer of ``stack``, in order."""
    prefix = str(getattr(model, "base_model_prefix", ""))
    path = f"{prefix}.{stack.layers}" if prefix and hasattr(model, prefix) else stack.layers
    return [(f"{path}.{name}", layer) for name, layer in model.get_submodule(path).named_children()]


def couplings_of(model: nn.Module, stacks: tuple[Stack, ...]) -> Iterator[tuple[str, nn.Module, Coupling]]:
    """Yield the name of every group, such as ``encoder.3.heads``, with its layer and what it couples there."""
    for stack in stacks:
        for index, (_, layer) in enumerate(layers_of(model, stack)):
            for coupling in stack.couplings:
                yield f"{stack.name}.{index}.{coupling.name}", layer, coupling


def narrow(model: nn.Module, stacks: tuple[Stack, ...], units: Mapping[str, int]) -> None:
    """Give the linear modules of every group named in ``units`` room for that many units, uninitialised, in place.

    Only these leaves change: the layers stay the objects that transformers records hidden states from.
    """
    unknown = set(units)
    for name, layer, coupling in couplings_of(model, stacks):
        if name not in units:
            continue
        unknown.discard(name)
        width = units[name] * coupling.unit_size(layer)
        for rows in coupling.producers:
            _resize(layer.get_submodule(rows.path), rows.axis, rows.parts * width, is_output=True)
        _resize(layer.get_submodule(coupling.consumer), coupling.consumer_axis, width, is_output=False)
    if unknown:
        raise ValueError(f"config.condensed: {type(model).__name__} has no group {sorted(unknown)[0]!r}")


def _resize(module: nn.Module, axis: int, size: int, *, is_output: bool) -> None:
    """Replace the weight by an empty one that is ``size`` long along ``axis``; the bias follows the outputs."""
    weight = module.get_parameter("weight")
    shape = [size if dimension == axis else length for dimension, length in enumerate(weight.shape)]
    module.weight = nn.Parameter(weight.new_empty(shape), requires_grad=weight.requires_grad)
    if is_output and module.bias is not None:
        bias = module.get_parameter("bias")
        module.bias = nn.Parameter(bias.new_empty(size), requires_grad=bias.requires_grad)
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape


class Condensed:
    """Mixed in before a transformers class: builds it at the widths that ``config.condensed`` names.

    The original widths exist on the meta device only, so neither loading nor constructing allocates them.
    """

    stacks: ClassVar[tuple[Stack, ...]] = ()

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        device = torch.empty(0).device
        with torch.device("meta"):
            super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        narrow(self, self.stacks, config.condensed or {})  # type: ignore[arg-type]
        if device.type != "meta":
            self.to_empty(device=device)  # type: ignore[attr-defined]
            self.init_weights()  # type: ignore[attr-defined]

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """Save as transformers does, under the names the modules have: a strict load then finds every weight."""
        kwargs.setdefault("save_original_format", False)
        super().save_pretrained(save_directory, *args, **kwargs)  # type: ignore[misc]


def code_references(classes: Mapping[str, type]) -> dict[str, str]:
    """Return what ``config.json`` tells the Auto classes: which class of which file beside it each of them loads."""
    return {name: f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}" for name, cls in classes.items()}


def travel(classes: Mapping[str, Any]) -> None:
    """Make ``save_pretrained`` copy the code of these classes beside the weights."""
    for auto_class, condensed_class in classes.items():
        condensed_class.register_for_auto_class(auto_class)
