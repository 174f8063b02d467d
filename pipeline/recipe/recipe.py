"""A recipe, read and resolved: every value known, and where each came from."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter

from pipeline.recipe.budget import BudgetSource, PruningConfig, StageBudget
from pipeline.recipe.document import Path_, dotted
from pipeline.recipe.sources import ModelSource, TaskSource
from pipeline.recipe.training import StageConfig, TrainingConfig
from pipeline.surgery.groups import Kind

LENGTH = ("epochs", "steps")
LINE_BREAKS = ("\x85", "\u2028", "\u2029")
"""Characters that YAML takes for line breaks unless they are written as escapes, between double quotation marks."""


class _Representer(SafeRepresenter):
    """Writes every text such that it reads back equal."""


def _as_it_is(representer: SafeRepresenter, text: str) -> Any:
    style = '"' if any(character in text for character in LINE_BREAKS) else None
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Representer.add_representer(str, _as_it_is)


@dataclass(frozen=True)
class StageRecipe:
    """One stage: the algorithm it ``uses``, its unique name, and its own configuration, inheritance resolved."""

    uses: str
    name: str
    config: StageConfig


@dataclass(frozen=True)
class Recipe:
    """What to do to which model on which data.

    ``provenance`` says for every dotted field where its value was written: ``recipe.yaml:12``, ``--set``,
    ``training (recipe.yaml:9)`` for an inherited one, or ``default``. Two recipes with equal values are equal.
    """

    name: str
    seed: int
    model: ModelSource
    task: TaskSource
    training: TrainingConfig
    stages: tuple[StageRecipe, ...]
    budget: BudgetSource | None = None
    provenance: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def stage(self, name: str) -> StageRecipe:
        """Return the stage called ``name``; raises ``KeyError`` when there is none."""
        return {stage.name: stage for stage in self.stages}[name]

    def section(self, stage: str, setting: str) -> str:
        """Return the section that says the ``setting`` of the stage called ``stage``: its own, or what all inherit."""
        path = f"stages.{stage}"
        return "training" if self.provenance.get(f"{path}.{setting}", "").startswith("training (") else path

    def stage_budget(self, index: int) -> StageBudget | None:
        """Return the budget as the stage at ``index`` meets it; None where there is none, or it prunes nothing."""
        if self.budget is None or not isinstance(self.stages[index].config, PruningConfig):
            return None
        return StageBudget(self.budget, self.pruning_from(index + 1))

    def pruning_from(self, index: int) -> dict[Kind, PruningConfig]:
        """Return the configs of the pruning stages from ``index`` on, by what they prune."""
        configs = [stage.config for stage in self.stages[index:]]
        return {config.prunes: config for config in configs if isinstance(config, PruningConfig)}

    def values(self) -> Iterator[tuple[str, Any, str]]:
        """Yield every dotted field, its resolved value, and where that came from."""
        parts: list[tuple[Path_, Any]] = [(("name",), self.name), (("seed",), self.seed)]
        parts += [(("model",), self.model), (("task",), self.task), (("training",), self.training)]
        parts += [] if self.budget is None else [(("budget",), self.budget)]
        parts += [(("stages", stage.name), stage.config) for stage in self.stages]
        for prefix, part in parts:
            for path, value in leaves(prefix, part):
                yield dotted(path), value, self.provenance.get(dotted(path), "default")

    def dump(self) -> str:
        """Return ``document()`` as YAML."""
        stream = io.StringIO()
        writer = YAML(typ="safe", pure=True)
        writer.Representer = _Representer
        writer.default_flow_style = False
        writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        writer.allow_unicode = True
        writer.width = 110
        writer.dump(self.document(), stream)
        return stream.getvalue()

    def document(self) -> dict[str, Any]:
        """Return plain values in which nothing is left to a default: they read back equal, later versions included."""
        training = self.training.model_dump(mode="json")
        shared = {key: value for key, value in training.items() if key not in LENGTH}
        return {
            "name": self.name,
            "seed": self.seed,
            "model": self.model.model_dump(mode="json", exclude_none=True),
            "task": self.task.model_dump(mode="json", exclude_none=True),
            **({} if self.budget is None else {"budget": self.budget.model_dump(mode="json", exclude_none=True)}),
            "training": shared | {key: training[key] for key in LENGTH if training[key] is not None},
            "stages": [self._dump_stage(stage, shared) for stage in self.stages],
        }

    @staticmethod
    def _dump_stage(stage: StageRecipe, shared: Mapping[str, Any]) -> dict[str, Any]:
        config = stage.config.model_dump(mode="json")
        own = {key: value for key, value in config.items() if key not in shared or not _is_same(value, shared[key])}
        for key in LENGTH:
            if own.get(key) is None:
                own.pop(key, None)
        return {"uses": stage.uses, "name": stage.name, **own}


def leaves(path: Path_, part: Any) -> Iterator[tuple[Path_, Any]]:
    """Yield the fields below ``part`` with their paths: into models and mappings, not into lists."""
    items: Any = None
    if isinstance(part, BaseModel):
        items = ((name, getattr(part, name)) for name in type(part).model_fields)
    elif isinstance(part, Mapping) and part:
        items = part.items()
    if items is None:
        yield path, part
        return
    for name, value in items:
        yield from leaves((*path, str(name)), value)


def _is_same(value: Any, other: Any) -> bool:
    """Compare with the type, for a warm-up of 1 is a step and of 1.0 the whole stage."""
    return type(value) is type(other) and bool(value == other)
