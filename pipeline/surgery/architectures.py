"""The table of architectures that can be cut: one row and one file in ``condensed/`` for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.errors import UnsupportedArchitecture

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from pipeline.surgery.condensed.narrow import Stack

CONDENSED_PREFIX = "condensed-"
CLASS_PREFIX = "Condensed"


@dataclass(frozen=True)
class Family:
    """One row: a transformers model type, and the file that says where its units sit and holds its condensed classes.

    The file is the single source of the layout because it travels with the checkpoints; it is imported when asked.
    """

    model_type: str
    file: str

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """Return where heads and channels sit."""
        stacks: tuple[Stack, ...] = self._module().STACKS
        return stacks

    @property
    def auto_classes(self) -> Mapping[str, Any]:
        """Return the condensed class that each transformers Auto class loads, ``AutoConfig`` first."""
        classes: Mapping[str, Any] = self._module().AUTO_CLASSES
        return classes

    def model_class(self, auto_model: str, model_type: str) -> Any:
        """Return the class that the Auto class ``auto_model`` loads: transformers' own, or its condensed twin."""
        import transformers

        condensed_class = self.auto_classes[auto_model]
        if model_type.startswith(CONDENSED_PREFIX):
            return condensed_class
        return getattr(transformers, condensed_class.__name__.removeprefix(CLASS_PREFIX))

    def condensed_class(self, model: nn.Module) -> Any:
        """Return the condensed twin of the model's class; raises for a head that has none."""
        name = type(model).__name__
        twins = {cls.__name__: cls for cls in self.auto_classes.values()}
        for candidate in (name, f"{CLASS_PREFIX}{name}"):
            if candidate in twins:
                return twins[candidate]
        known = ", ".join(twin.removeprefix(CLASS_PREFIX) for twin in twins if not twin.endswith("Config"))
        raise UnsupportedArchitecture(f"{name} has no condensed class; {self.model_type} has them for {known}")

    def register(self) -> None:
        """Teach transformers' Auto classes this family's condensed classes; again is harmless."""
        import transformers

        config_class = self.auto_classes["AutoConfig"]
        transformers.AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        for auto_class, condensed_class in self.auto_classes.items():
            if auto_class != "AutoConfig":
                getattr(transformers, auto_class).register(config_class, condensed_class, exist_ok=True)

    def _module(self) -> Any:
        return import_module(f"pipeline.surgery.condensed.{self.file}")


FAMILIES: Mapping[str, Family] = {
    family.model_type: family
    for family in (
        Family("bert", "modeling_condensed_bert"),
        Family("roberta", "modeling_condensed_roberta"),
        Family("electra", "modeling_condensed_electra"),
        Family("distilbert", "modeling_condensed_distilbert"),
        Family("vit", "modeling_condensed_vit"),
        Family("deit", "modeling_condensed_deit"),
    )
}


def family_of_type(model_type: str) -> Family:
    """Return the row of a model type, dense or condensed; raises ``UnsupportedArchitecture`` where there is none."""
    family = FAMILIES.get(model_type.removeprefix(CONDENSED_PREFIX))
    if family is None:
        raise UnsupportedArchitecture(
            f"model type {model_type!r} is not supported; supported are {', '.join(FAMILIES)}"
        )
    return family


def family_of(model: nn.Module) -> Family:
    """Return the row of the model's family, whatever its head and however it is cut."""
    return family_of_type(str(getattr(getattr(model, "config", None), "model_type", type(model).__name__)))


def layer_prefixes(model: nn.Module) -> list[str]:
    """Return the paths of the transformer layers, such as ``bert.encoder.layer.0``, in order."""
    from pipeline.surgery.condensed.narrow import layers_of

    return [path for stack in family_of(model).stacks for path, _ in layers_of(model, stack)]


def num_dense_heads(model: PreTrainedModel) -> int:
    """Return how many heads each layer has in the architecture as it was built, before anything was cut."""
    return int(model.config.num_attention_heads)


def encoder_parameters(model: nn.Module) -> int:
    """Return how many parameters lie inside the transformer layers."""
    return sum(p.numel() for path in layer_prefixes(model) for p in model.get_submodule(path).parameters())
