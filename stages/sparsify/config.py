"""What a recipe may say about sparsifying weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from pipeline.recipe.training import Pattern as Expression
from pipeline.recipe.training import StageConfig, TrainingConfig
from pipeline.recipe.values import (
    Flag,
    Frozen,
    NonNegativeNumber,
    Number,
    PositiveInteger,
    PositiveNumber,
    Share,
    StepOrShare,
    Text,
)
from stages.distill.config import DistillWeights
from stages.schedules import check_span
from stages.sparsify.pattern import parse_pattern

Criterion = Literal["magnitude", "snip", "snip_momentum"]
Reduce = Literal["mean", "sum"]
Scope = Literal["global", "local"]
Kind = Literal["one_shot", "constant", "polynomial", "linear", "cos", "exp", "cube"]
LayerType = Literal["Linear", "Conv1d", "Conv2d", "Conv1D", "LSTM", "GRU", "MultiheadAttention", "Embedding"]

MATMULS: tuple[LayerType, ...] = ("Linear", "Conv1d", "Conv2d", "Conv1D", "LSTM", "GRU", "MultiheadAttention")
"""Every type whose weights are multiplied with; an embedding is looked up, and touched only where asked for."""


SHARES = ("sparsity", "initial_sparsity", "max_sparsity_per_layer", "min_sparsity_per_layer")


def _checked_pattern(value: str) -> str:
    parse_pattern(value)
    return value


Pattern = Annotated[Text, AfterValidator(_checked_pattern)]
WholeShare = Annotated[Number, Field(ge=0, le=1)]


class SparsitySchedule(Frozen):
    """When the share of zeros climbs, and how; with p going from 0 at ``begin`` to 1 at ``end``, s0 to s1.

    polynomial: ``s1 + (s0 - s1)(1 - p)^power``; linear: ``s0 + (s1 - s0)p``; cos: ``s0 + (s1 - s0)(1 - cos(πp/2))``;
    exp: ``1 - (1 - s0)((1 - s1)/(1 - s0))^p``; cube: ``s0 + (s1 - s0)p³``; constant: s1 from ``begin`` on, the choice
    made anew up to ``end``; one_shot: s1 at ``begin``, chosen once.
    """

    kind: Kind = "polynomial"
    power: PositiveNumber = Field(3.0, description="of kind polynomial: the larger, the sooner most is gone")
    begin: StepOrShare = Field(0.0, description="dense before: a step, or a share of the stage")
    end: StepOrShare = Field(0.7, description="the target is reached, masks stay from here: a step, or a share")
    every: PositiveInteger = Field(100, description="steps between mask updates; there is one at end in any case")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.kind != "one_shot":
            check_span(self.begin, self.end, names=("begin", "end"))
        return self

    def ignored(self) -> tuple[str, ...]:
        """Return the settings changed from their defaults that are of no effect for this kind."""
        unused: tuple[str, ...] = () if self.kind == "polynomial" else ("power",)
        unused += ("end", "every") if self.kind == "one_shot" else ()
        return tuple(name for name in unused if getattr(self, name) != type(self).model_fields[name].default)


class ScheduleChange(Frozen):
    """What a group's schedule has of its own; the rest is the stage's."""

    kind: Kind | None = None
    power: PositiveNumber | None = None
    begin: StepOrShare | None = None
    end: StepOrShare | None = None
    every: PositiveInteger | None = None


class LayerChoice(Frozen):
    """Which weights are touched: of the ``types``, those whose path a regular expression finds.

    With ``include`` only what it finds, whatever ``exclude`` says; without, all but what ``exclude`` finds.
    """

    types: tuple[LayerType, ...] = Field(MATMULS, description="classes of torch.nn, and Conv1D of transformers")
    include: tuple[Expression, ...] = Field((), description="searched for in a layer's path; wins over exclude")
    exclude: tuple[Expression, ...] = Field(
        ("classifier", "pooler", ".*embeddings.*"), description="searched for in a layer's path"
    )


class GroupConfig(Frozen):
    """A domain of its own within the stage: the layers it picks, and the settings that differ from the stage's.

    A layer belongs to the first group that picks it; what no group picks belongs to the stage's own domain.
    """

    include: tuple[Expression, ...] = Field((), description="searched for in a layer's path; wins over exclude")
    exclude: tuple[Expression, ...] | None = Field(None, description="null: the stage's")
    types: tuple[LayerType, ...] | None = Field(None, description="null: the stage's")
    sparsity: Share | None = None
    initial_sparsity: Share | None = None
    criterion: Criterion | None = None
    pattern: Pattern | None = None
    reduce: Reduce | None = None
    scope: Scope | None = None
    schedule: ScheduleChange | None = None
    max_sparsity_per_layer: WholeShare | None = None
    min_sparsity_per_layer: Share | None = None
    group_lasso: NonNegativeNumber | None = None
    pattern_lock: Flag | None = None


class SparsifyConfig(StageConfig):
    """Settings of ``sparsify``: how many weights become zero, which, when, and in which blocks."""

    inherits_as: ClassVar[Mapping[str, str]] = {"schedule": "lr_schedule"}

    sparsity: Share = Field(0.5, description="share of the weights touched that is zero in the end, to one block")
    initial_sparsity: Share = Field(0.0, description="the share with which the schedule begins")
    criterion: Criterion = Field(
        "snip_momentum",
        description="magnitude: |W|; snip: |W·gradient| of a step; snip_momentum: 0.9 of itself plus that, each step; "
        "for an Embedding magnitude, since the other two drop the rows of rare words whole",
    )
    pattern: Pattern = Field(
        "1x1",
        description="what becomes zero together: NxM (N output rows by M input columns), channelx1 (a whole column), "
        '1xchannel (a whole row), or "N:M" (N kept of M consecutive inputs)',
    )
    reduce: Reduce = Field("mean", description="a block's score from those of its weights")
    scope: Scope = Field("global", description="one ranking over all layers, or the same share of every layer")
    schedule: SparsitySchedule = Field(  # type: ignore[assignment]
        SparsitySchedule(), description="of the share of zeros; that of the learning rate is lr_schedule"
    )
    lr_schedule: Literal["linear", "cosine", "constant", "inverse_sqrt"] = Field(
        "linear", description="of the learning rate; default: training.schedule"
    )
    max_sparsity_per_layer: WholeShare = Field(0.98, description="no layer loses a larger share; others make up for it")
    min_sparsity_per_layer: Share = Field(0.0, description="every layer loses this share at least")
    layers: LayerChoice = LayerChoice()
    group_lasso: NonNegativeNumber = Field(
        0.0, description="α of the proximal step W_B ← W_B·max(0, 1 - lr·α/‖W_B‖) on every block, up to schedule.end"
    )
    pattern_lock: Flag = Field(False, description="keep the zeros there are and train the rest; nothing else is chosen")
    enabled: Flag = Field(True, description="false: the same training, dense")
    distill: DistillWeights | None = Field(None, description="learn from the teacher while pruning; null: do not")
    groups: tuple[GroupConfig, ...] = Field((), description="domains of their own, whose settings win over the above")

    @model_validator(mode="before")
    @classmethod
    def _tells_schedules_apart(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("schedule"), str):
            raise ValueError(
                "schedule: must be that of the sparsity here, a mapping such as {kind: polynomial, end: 0.7}, got "
                f"{values['schedule']!r}; the learning rate's is lr_schedule"
            )
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        from stages.sparsify.settings import check_settings, resolve_domains

        for settings in reversed(resolve_domains(self)):
            check_settings(settings)
        return self

    def ignored(self) -> tuple[str, ...]:
        """Return the settings changed from their defaults that the others leave without effect."""
        unused: tuple[str, ...] = ()
        if self.pattern_lock:
            unused += (*SHARES, "criterion", "reduce", "scope", "group_lasso")
        elif self.schedule.kind in ("one_shot", "constant") and not self.groups:
            unused += ("initial_sparsity",)
        if self.distill is None:
            unused += ("teacher",)
        fields = type(self).model_fields
        changed = tuple(name for name in unused if getattr(self, name) != fields[name].default)
        return changed if self.groups else (*changed, *(f"schedule.{name}" for name in self.schedule.ignored()))

    def training(self) -> TrainingConfig:
        """Return how to train, as the loop reads it: there ``schedule`` is that of the learning rate."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in TrainingConfig.model_fields}
        # They have been checked; one who times a few steps sets what no recipe may.
        return TrainingConfig.model_construct(**{**fields, "schedule": self.lr_schedule})
