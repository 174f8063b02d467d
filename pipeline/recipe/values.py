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


LATER: dict[str, Any] = {"later": True}
"""``json_schema_extra`` of a field that came after the first release of its stage and whose default changes nothing:
at that default it is in no fingerprint, so that artifacts made before it existed stay fresh."""


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


def settings_of(config: BaseModel) -> dict[str, Any]:
    """Return the settings in ``config`` that may change a result, as JSON, those of its parts too."""
    dumped = config.model_dump(mode="json", exclude=set(display_fields(type(config))))
    for name, field in type(config).model_fields.items():
        value, extra = getattr(config, name), field.json_schema_extra
        if isinstance(extra, dict) and extra.get("later") and value == field.get_default(call_default_factory=True):
            del dumped[name]
        elif isinstance(value, BaseModel):
            dumped[name] = settings_of(value)
    return dumped
