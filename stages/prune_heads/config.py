"""What a recipe may say about pruning attention heads."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator
from typing_extensions import Self

from pipeline.recipe.budget import PruningConfig, has_budget
from pipeline.recipe.values import (
    LATER,
    Flag,
    NonNegativeInteger,
    NonNegativeNumber,
    PositiveInteger,
    PositiveNumber,
    Share,
    StepOrShare,
)
from pipeline.surgery.groups import Kind
from stages.distill.config import DistillWeights
from stages.repair.config import RepairConfig
from stages.schedules import check_span

MOVEMENT_ONLY = ("regular_scale", "score_learning_rate", "block_size")
TAYLOR_ONLY = ("rounds",)
RANKED_ONLY = ("cut_at_rounds",)
THRESHOLD_ONLY = ("threshold",)


class PruneHeadsConfig(PruningConfig):
    """Settings of ``prune_heads``; the defaults are NNI's, with its soft threshold.

    With ``sparsity`` an exact budget takes the threshold's place: the share of heads removed follows a cubic schedule
    from ``prune_begin`` to ``prune_end``, and ends exact. In a recipe with a budget, the budget gives that share.
    """

    prunes: ClassVar[Kind] = "heads"
    floor: ClassVar[str] = "min_heads_per_layer"

    criterion: Literal["movement", "taylor", "l1"] = Field(
        "movement",
        description="movement: learned scores; taylor: squared effect on the loss, as of FFN channels; l1: least "
        "weight; the last two are always of whole heads",
    )
    granularity: Literal["block", "head"] = Field(
        "block", description="what gets a score: square blocks of the q, k, v, o weights, or whole heads"
    )
    threshold: PositiveNumber = Field(0.1, lt=1, description="a block is masked while its score's sigmoid is below it")
    regular_scale: NonNegativeNumber = Field(
        10,
        description="penalty on the scores: without sparsity more removes more heads; beside it, it makes what matters "
        "little to the loss go first",
    )
    sparsity: Share | None = Field(
        None, description="share of heads to remove, exactly; null: the recipe's budget, or else the threshold, decides"
    )
    score_learning_rate: PositiveNumber = Field(1e-2, description="Adam's learning rate of the scores, constant")
    prune_begin: StepOrShare = Field(0.25, description="nothing is masked before: a step, or a share of the stage")
    prune_end: StepOrShare = Field(0.75, description="the schedule is at its end: a step, or a share of the stage")
    rounds: PositiveInteger = Field(
        36, description="prunings of criterion taylor, on a cubic schedule; 1: one shot", json_schema_extra=LATER
    )
    cut_at_rounds: Flag = Field(
        True,
        description="heads judged by taylor or l1 leave the model at each round, so that steps get faster; false: "
        "masked to the end",
        json_schema_extra=LATER,
    )
    min_heads_per_layer: NonNegativeInteger = Field(0, description="heads that every layer keeps at least")
    block_size: PositiveInteger | None = Field(
        None, description="side of a block; it divides the head's width and the hidden size; null: the head's width"
    )
    distill: DistillWeights | None = Field(None, description="learn from the teacher while pruning; null: do not")
    repair: RepairConfig | None = Field(
        None,
        description="refit the output weights to real inputs when heads go, by least squares; null: do not",
        json_schema_extra=LATER,
    )

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> Self:
        check_span(self.prune_begin, self.prune_end)
        if self.criterion != "movement" and self.sparsity is None and not has_budget(info):
            raise ValueError(
                f"sparsity: must be given with criterion {self.criterion}, which has no threshold; say sparsity: 0.5"
            )
        return self

    def least_kept(self, width: int) -> int:
        """Return how many heads a layer that has ``width`` of them keeps at least."""
        return min(width, self.min_heads_per_layer)

    def ignored(self) -> tuple[str, ...]:
        """Return the settings changed from their defaults that the others leave without effect."""
        unused: tuple[str, ...] = ()
        if self.sparsity is not None:
            unused += THRESHOLD_ONLY
        if self.criterion != "taylor":
            unused += TAYLOR_ONLY
        unused += RANKED_ONLY if self.criterion == "movement" else MOVEMENT_ONLY
        if self.criterion == "movement" and self.sparsity is not None and self.regular_scale == 0:
            unused += ("score_learning_rate",)  # Adam's steps are in proportion to it, and the scores only get ranked
        if self.criterion == "movement" and self.granularity == "head":
            unused += ("block_size", "repair")  # whole heads are trained masked: their cut changes no output
        if self.distill is None:
            unused += ("teacher",)
        return tuple(name for name in unused if getattr(self, name) != type(self).model_fields[name].default)
