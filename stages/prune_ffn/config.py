"""What a recipe may say about pruning FFN channels."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from pipeline.recipe.budget import PruningConfig, has_budget
from pipeline.recipe.values import LATER, Flag, Number, PositiveInteger, Share, StepOrShare
from pipeline.surgery.groups import Kind
from stages.distill.config import DistillWeights
from stages.repair.config import RepairConfig
from stages.schedules import check_span

WholeShare = Annotated[Number, Field(ge=0, le=1)]


class PruneFfnConfig(PruningConfig):
    """Settings of ``prune_ffn``.

    ``sparsity: match_heads`` removes from layer ``i`` the share ``1 - match_heads_ratio * kept_heads_i / num_heads``:
    with NNI's ratio of 0.5 a layer with all its heads loses half of its channels, one with none loses all. The heads
    of the architecture count, also those that the source had lost before this run. In a recipe with a budget,
    ``sparsity`` is null, and the budget gives one share, ranked over all layers together.
    """

    prunes: ClassVar[Kind] = "channels"
    floor: ClassVar[str] = "max_sparsity_per_layer"

    criterion: Literal["taylor", "l1"] = Field("taylor", description="taylor: effect on the loss; l1: least weight")
    form: Literal["gate", "nni"] = Field(
        "gate", description="gate: squared sum over a channel's output weights; nni: sum of squares over its input ones"
    )
    sparsity: Literal["match_heads"] | Share | tuple[WholeShare, ...] | None = Field(
        "match_heads",
        description="match_heads, one share for all layers, or a list with a share for each layer; null: the recipe's "
        "budget decides",
    )
    scope: Literal["global", "local"] = Field(
        "global", description="of one share: ranked over all layers together, or the same share of every layer"
    )
    max_sparsity_per_layer: WholeShare = Field(0.95, description="with scope global, no layer loses a larger share")
    match_heads_ratio: WholeShare = Field(0.5, description="share of channels that a layer with all its heads keeps")
    rounds: PositiveInteger = Field(36, description="prunings, on a cubic schedule; 1: one shot at prune_end")
    prune_begin: StepOrShare = Field(
        0.0,
        description="importances are gathered from here, or where it equals prune_end over the 100 steps before: "
        "a step, or a share",
    )
    prune_end: StepOrShare = Field(0.75, description="the last round; what follows recovers: a step, or a share")
    cut_at_rounds: Flag = Field(
        True, description="channels leave the model at each round, so that steps get faster; false: masked to the end"
    )
    multiple_of: PositiveInteger = Field(1, description="kept widths are rounded up to a multiple of this")
    distill: DistillWeights | None = Field(
        DistillWeights(), description="learn from the teacher while pruning; null: from the labels alone"
    )
    repair: RepairConfig | None = Field(
        None,
        description="refit the output weights to real inputs at each round, by least squares; null: do not",
        json_schema_extra=LATER,
    )

    @field_validator("sparsity", mode="wrap")
    @classmethod
    def _one_of_three_forms(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(
                f"must be match_heads, a share in [0, 1), or a list of a share in [0, 1] per layer, got {value!r}"
            ) from None

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> Self:
        check_span(self.prune_begin, self.prune_end)
        if has_budget(info):
            self._check_beside_budget()
        elif self.sparsity is None:
            raise ValueError("sparsity: must be match_heads or a share where the recipe has no budget, got null")
        ranked = isinstance(self.sparsity, float) and self.scope == "global"
        if ranked and self.sparsity > self.max_sparsity_per_layer:  # type: ignore[operator]
            raise ValueError(
                f"sparsity: must be at most max_sparsity_per_layer ({self.max_sparsity_per_layer}), "
                f"got {self.sparsity}; raise the cap, or say scope: local"
            )
        return self

    def _check_beside_budget(self) -> None:
        if self.scope != "global":
            raise ValueError(f"scope: must be global beside the recipe's budget, got {self.scope}")
        if self.multiple_of != 1:
            raise ValueError(
                "multiple_of: must be 1 beside the recipe's budget, which is met to the channel, "
                f"got {self.multiple_of}"
            )

    def least_kept(self, width: int) -> int:
        """Return how many channels a layer that has ``width`` of them keeps at least."""
        return width - round(self.max_sparsity_per_layer * width)

    def ignored(self) -> tuple[str, ...]:
        """Return the settings changed from their defaults that the others leave without effect."""
        unused: tuple[str, ...] = ()
        if not isinstance(self.sparsity, float):
            unused += ("scope", "max_sparsity_per_layer")
        elif self.scope == "local":
            unused += ("max_sparsity_per_layer",)
        if self.sparsity != "match_heads":
            unused += ("match_heads_ratio",)
        if self.criterion == "l1":
            unused += ("form",)
        if self.distill is None:
            unused += ("teacher",)
        return tuple(name for name in unused if getattr(self, name) != type(self).model_fields[name].default)
