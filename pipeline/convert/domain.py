"""What an old file says of one set of layers, in the words of the stage ``sparsify``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LAYER_KEYS = ("types", "include", "exclude")


@dataclass(frozen=True)
class Domain:
    """The settings of ``sparsify`` for one set of layers, and which layers these are (``types, include, exclude``)."""

    settings: Mapping[str, Any]
    layers: Mapping[str, Any]


@dataclass(frozen=True)
class Length:
    """How long the stage trains: epochs or steps, or neither where the old file does not say."""

    epochs: float | None = None
    steps: int | None = None

    @property
    def is_given(self) -> bool:
        """Say whether one of them is known."""
        return self.epochs is not None or self.steps is not None

    def fields(self) -> dict[str, Any]:
        """Return the one that is known as a recipe's field."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Translated:
    """A whole old file: its domains in order, the training settings it gives, and the tool it was written for."""

    tool: str
    domains: tuple[Domain, ...]
    length: Length = field(default_factory=Length)
    training: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    def stage(self) -> dict[str, Any]:
        """Return the stage of a recipe.

        The first domain is the stage's own, the others are its groups: ``sparsify`` leaves a layer that is in no
        domain alone when ``include`` names those that are, which the old tools did, too.
        """
        first, *others = self.domains
        stage = {"uses": "sparsify", **self.length.fields(), **first.settings, "layers": dict(first.layers)}
        if others:
            stage["groups"] = [self._group(other, first) for other in others]
        return stage

    @staticmethod
    def _group(domain: Domain, first: Domain) -> dict[str, Any]:
        """Return a group's layers and what it says otherwise than the stage."""
        own = {name: value for name, value in domain.settings.items() if first.settings.get(name) != value}
        if first.settings.get("pattern_lock") and not domain.settings.get("pattern_lock"):
            own["pattern_lock"] = False
        return {**domain.layers, **own}
