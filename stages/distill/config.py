"""What a recipe may say about distillation, in its own stage and inside a pruning stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from pipeline.recipe.training import StageConfig
from pipeline.recipe.values import LATER, Flag, Frozen, NonNegativeNumber, PositiveNumber


class DistillWeights(Frozen):
    """The terms of the distillation loss, ``task·task_loss + logits·T²·KL + hidden·MSE``.

    The defaults are NNI's: a tenth of the task's own loss, nine tenths of the logits' divergence at temperature 2
    and of the hidden states' squared error.
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

    cache_teacher: Flag | Literal["auto"] = Field(
        "auto",
        description="write the teacher's answers to all rows down once and read them at each step; auto: on a CPU, "
        "where they are read more than once and fit a quarter of the memory and a tenth of the free disk",
        json_schema_extra=LATER,
    )

    @model_validator(mode="after")
    def _learns_from_the_teacher(self) -> Self:
        if self.logits_weight == 0 and self.hidden_weight == 0:
            raise ValueError(
                "logits_weight and hidden_weight: must not both be 0, for then nothing is learned from the teacher; "
                "use finetune, or leave distill out"
            )
        return self


class DistillConfig(DistillWeights, StageConfig):
    """Settings of ``distill``: the weights of its loss, and how to train."""
