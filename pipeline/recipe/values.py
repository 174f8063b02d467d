"""The value types of a recipe: strict numbers, and the mark of a setting that changes no result."""

from typing import Annotated, Any

from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, Strict

Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]

PositiveInteger = Annotated[Integer, Field(gt=0)]
NonNegativeInteger = Annotated[Integer, Field(ge=0)]
PositiveNumber = Annotated[Number, Field(gt=0)]
NonNegativeNumber = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
StepOrShare = Annotated[
    Annotated[int, Strict(), Field(ge=0)] | Annotated[float, Strict(), AllowInfNan(False), Field(ge=0, le=1)],
    Field(description="an integer counts steps, a number with a point is a share of the stage"),
]

DISPLAY: dict[str, Any] = {"display": True}
"""``json_schema_extra`` of a field that changes only what is shown or how often it is saved: in no fingerprint."""


class Frozen(BaseModel):
    """A part of a recipe: unknown keys are refused and nothing changes after it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def display_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the names of ``model``'s fields marked with ``DISPLAY``."""
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("display")
    )
