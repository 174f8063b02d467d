"""Rewrites pydantic's errors in the house's form: what is wrong, what is allowed, the value got."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from inspect import get_annotations
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.recipe.document import Located, Path_, dotted
from pipeline.recipe.mistakes import Mistake, did_you_mean, shown

Schema = dict[str, Any]
BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
RANGE_KINDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
OWN_WORDS = ("value_error", "assertion_error")
NAMED_FIELD = re.compile(r"^([a-z_]+): (.*)$", re.DOTALL)


def check(
    model: type[BaseModel],
    value: Any,
    document: Located,
    path: Path_,
    *,
    label: Path_ | None = None,
    context: Mapping[str, Any] | None = None,
) -> tuple[BaseModel | None, dict[Path_, Mistake]]:
    """Return ``value`` read as ``model``, or None and a mistake for every wrong field, by its path below ``path``.

    ``document`` says where values were written; ``label`` is the dotted path shown where it differs from ``path``
    (a stage is shown by its name and stands in a list). ``context`` is what the model's validators may ask for.
    """
    try:
        return model.model_validate(value, context=context), {}
    except ValidationError as error:
        return None, _mistakes(model, error, document, path, path if label is None else label)


def _mistakes(
    model: type[BaseModel], error: ValidationError, document: Located, path: Path_, label: Path_
) -> dict[Path_, Mistake]:
    found: dict[Path_, Mistake] = {}
    schema = json_schema(model)
    details = [(_locate(schema, detail), detail) for detail in error.errors(include_url=False)]
    out_of_range = {below for (below, _), detail in details if detail["type"] in RANGE_KINDS}
    for (below, field_schema), detail in details:
        if detail["type"] == "extra_forbidden":
            own_first = sorted(_properties(field_schema, schema), key=lambda key: key not in get_annotations(model))
            message = _unknown_key(str(below[-1]), own_first)
        elif detail["type"] in OWN_WORDS:
            message = str(detail.get("ctx", {}).get("error", detail["msg"])).strip()
            named = NAMED_FIELD.match(message)
            if named and named[1] in _properties(field_schema, schema):
                below, message = (*below, named[1]), named[2]
            elif "got " not in message and not _properties(field_schema, schema):
                message = f"{message}, got {shown(detail['input'])}"
        else:
            message = _message(detail, field_schema, schema, below in out_of_range)
        if below not in found:
            origin = document.find((*path, *below)).origin
            found[below] = Mistake(origin, dotted((*label, *below)), message)
    return found


@lru_cache(maxsize=64)
def json_schema(model: type[BaseModel]) -> Schema:
    """Return the JSON schema of what ``model`` reads."""
    return model.model_json_schema()


def _message(detail: ErrorDetails, schema: Schema, root: Schema, out_of_range: bool) -> str:
    got = shown(detail["input"])
    if detail["type"] == "missing":
        return f"must be given: {describe(schema, root)}"
    allowed = _allowed_numbers(schema, root) if out_of_range else ""
    allowed = allowed or describe(schema, root)
    return f"must be {allowed}, got {got}" if allowed else f"{detail['msg'].lower()}, got {got}"


def _allowed_numbers(schema: Schema, root: Schema) -> str:
    """Return the range alone where a number is allowed and the value is one, so that only its size is wrong."""
    options = [_resolved(option, root) for option in _resolved(schema, root).get("anyOf", [schema])]
    numbers = [option for option in options if _resolved(option, root).get("type") in ("integer", "number")]
    return " or ".join(describe(option, root, bare=len(numbers) == 1) for option in numbers)


def _unknown_key(key: str, known: list[str]) -> str:
    return f"unknown key{did_you_mean(key, known)}; allowed: {', '.join(known)}"


def _locate(root: Schema, detail: ErrorDetails) -> tuple[Path_, Schema]:
    """Return the path of the field an error is about, without pydantic's names of union members, and its schema.

    An unknown key is about itself, and its schema is that of the model that does not know it.
    """
    path: list[str | int] = []
    schema = root
    location = detail["loc"][:-1] if detail["type"] == "extra_forbidden" else detail["loc"]
    for part in location:
        inner = _inner(schema, part, root)
        if inner is None:
            break
        schema = inner
        path.append(part)
    if detail["type"] == "extra_forbidden":
        path.append(detail["loc"][-1])
    return tuple(path), schema


def _inner(schema: Schema, part: str | int, root: Schema) -> Schema | None:
    """Return the schema of the property or item ``part``; None where there is no such level, or it is ambiguous."""
    candidates = [_resolved(option, root) for option in _resolved(schema, root).get("anyOf", [schema])]
    candidates = [option for option in candidates if option.get("type") != "null"]
    if len(candidates) != 1:
        return None
    option = candidates[0]
    if isinstance(part, int):
        prefix = option.get("prefixItems", [])
        item = prefix[part] if part < len(prefix) else option.get("items")
        return item if isinstance(item, dict) else None
    properties = option.get("properties", {})
    inner = properties.get(part, option.get("additionalProperties"))
    return inner if isinstance(inner, dict) else None


def _properties(schema: Schema, root: Schema) -> dict[str, Any]:
    for option in _resolved(schema, root).get("anyOf", [schema]):
        properties: dict[str, Any] = _resolved(option, root).get("properties", {})
        if properties:
            return properties
    return {}


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    resolved: Schema = root["$defs"][reference.rsplit("/", 1)[-1]] if isinstance(reference, str) else schema
    return resolved


def describe(schema: Schema, root: Schema, *, bare: bool = False) -> str:
    """Return in words what a JSON schema allows, such as ``an integer of at least 1, or null``.

    ``bare`` leaves the type out (the value has it, only the range is wrong).
    """
    schema = _resolved(schema, root)
    if "anyOf" in schema:
        options = [describe(option, root) for option in schema["anyOf"]]
        return " or ".join(dict.fromkeys(option for option in options if option))
    if "enum" in schema or "const" in schema:
        return _choice(schema.get("enum", [schema.get("const")]))
    writer = DESCRIBERS.get(schema.get("type", ""))
    return writer(schema, root, bare) if writer else ""


def _choice(values: list[Any]) -> str:
    spelled = ", ".join(value if isinstance(value, str) else shown(value) for value in values)
    return f"one of {spelled}" if len(values) > 1 else spelled


def _number(noun: str) -> Callable[[Schema, Schema, bool], str]:
    def write(schema: Schema, root: Schema, bare: bool) -> str:
        words = _range(schema)
        return words if bare and words else f"{noun} {words}".strip()

    return write


def _range(schema: Schema) -> str:
    low, above, high, below = (schema.get(bound) for bound in BOUNDS)
    if (low is None and above is None) or (high is None and below is None):
        one_sided = {"at least": low, "above": above, "at most": high, "below": below}
        return " ".join(f"{words} {_plain(value)}" for words, value in one_sided.items() if value is not None)
    left = f"[{_plain(low)}" if low is not None else f"({_plain(above)}"
    right = f"{_plain(high)}]" if high is not None else f"{_plain(below)})"
    return f"in {left}, {right}"


def _plain(value: float | None) -> str:
    return str(int(value)) if value is not None and float(value).is_integer() else str(value)


def _array(schema: Schema, root: Schema, bare: bool) -> str:
    low, high = schema.get("minItems"), schema.get("maxItems")
    items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
    inner = describe(items, root) if isinstance(items, dict) else ""
    count = (
        f"{low} values" if low is not None and low == high else f"at least {low} value{'s'[: low > 1]}" if low else ""
    )
    return "a list" + (f" of {count}" if count else "") + (f", each value {inner}" if inner else "")


def _object(schema: Schema, root: Schema, bare: bool) -> str:
    keys = list(schema.get("properties", {}))
    return f"a mapping with keys of {', '.join(keys)}" if keys else "a mapping of keys to values"


def _text(schema: Schema, root: Schema, bare: bool) -> str:
    if "pattern" in schema:
        return f"text that matches {schema['pattern']}"
    return "text" if not schema.get("minLength") else "text that is not empty"


DESCRIBERS: dict[str, Callable[[Schema, Schema, bool], str]] = {
    "array": _array,
    "boolean": lambda schema, root, bare: "true or false",
    "integer": _number("an integer"),
    "null": lambda schema, root, bare: "null",
    "number": _number("a number"),
    "object": _object,
    "string": _text,
}
