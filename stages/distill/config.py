"""What a recipe may say about distillation, in its own stage and inside a pruning stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from pipeline.recipe.training import StageConfig
from pipeline.recipe.values import (
    LATER,
    Flag,
    Frozen,
    NonNegativeInteger,
    NonNegativeNumber,
    PositiveInteger,
    PositiveNumber,
)

Relation = Literal["qq", "kk", "vv", "qk"]
SHORT = {"task": "task_weight", "logits": "logits_weight", "hidden": "hidden_weight"}
"""What a weight may also be called: ``distill: {logits: 4.5}``."""


class DistillWeights(Frozen):
    """The terms of the distillation loss, ``task·task_loss + logits·T²·KL + hidden·MSE + relations·KL``.

    The defaults are NNI's: a tenth of the task's own loss, nine tenths of the logits' divergence at temperature 2
    and of the hidden states' squared error. MiniLM's attention relations are off until they are given a weight.
    """

    task_weight: NonNegativeNumber = Field(0.1, description="weight of the task's own loss on the labels")
    logits_weight: NonNegativeNumber = Field(0.9, description="weight of the divergence from the teacher's logits")
    hidden_weight: NonNegativeNumber = Field(
        0.9, description="weight of the squared error to the teacher's hidden states, summed over the layers"
    )
    temperature: PositiveNumber = Field(2.0, description="softens both sides' logits; the term is multiplied by T²")
    hidden_map: Literal["same", "min_deeper"] = Field(
        "same", description="same: layer i learns from layer i; min_deeper: from the nearest of the layers i and deeper"
    )
    relations_weight: NonNegativeNumber = Field(
        0.0,
        description="weight of the divergence from one layer's attention relations of the teacher, summed over "
        "relations; 0: off",
        json_schema_extra=LATER,
    )
    relations: tuple[Relation, ...] = Field(
        ("qq", "kk", "vv"),
        description="what is compared: which tokens have like queries (qq), keys (kk) or values (vv), or look at "
        "which (qk)",
        json_schema_extra=LATER,
    )
    relations_layer: NonNegativeInteger | Literal["last"] = Field(
        "last",
        description="the layer whose relations are learned, counted from 0; a student of another depth learns them "
        "in its last",
        json_schema_extra=LATER,
    )
    relation_heads: PositiveInteger = Field(
        1,
        description="relations of a layer: 1: that of all its heads together; more: of so many groups of heads, in "
        "their order, at most one for each head",
        json_schema_extra=LATER,
    )
    cache_teacher: Flag | Literal["auto"] = Field(
        "auto",
        description="write the teacher's answers to all rows down once and read them at each step; auto: on a CPU, "
        "where they are read more than once and fit a quarter of the memory and a tenth of the free disk",
        json_schema_extra=LATER,
    )

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        for short, name in SHORT.items():
            if short in values and name in values:
                raise ValueError(f"{short} and {name}: say the same; leave one of them out")
        return {SHORT.get(name, name): value for name, value in values.items()}

    @field_validator("relations")
    @classmethod
    def _each_once(cls, value: tuple[Relation, ...]) -> tuple[Relation, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError(f"must name at least one relation, and each once, got {list(value)}")
        return value

    @model_validator(mode="after")
    def _learns_from_the_teacher(self) -> Self:
        if self.logits_weight == 0 and self.hidden_weight == 0 and self.relations_weight == 0:
            raise ValueError(
                "logits_weight, hidden_weight and relations_weight: must not all be 0, for then nothing is learned "
                "from the teacher; use finetune, or leave distill out"
            )
        return self

    def without_effect(self) -> tuple[str, ...]:
        """Return the settings of terms without a weight that are changed from their defaults."""
        names: tuple[str, ...] = () if self.relations_weight > 0 else ("relations", "relations_layer", "relation_heads")
        names += () if self.hidden_weight > 0 else ("hidden_map",)
        names += () if self.logits_weight > 0 else ("temperature",)
        return tuple(name for name in names if getattr(self, name) != type(self).model_fields[name].default)


class DistillConfig(DistillWeights, StageConfig):
    """Settings of ``distill``: the weights of its loss, and how to train."""
