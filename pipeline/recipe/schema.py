"""The JSON schema of a recipe, with which editors complete and check while typing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pipeline.recipe.document_model import RecipeDocument
from pipeline.recipe.inheritance import STAGE_NAME
from pipeline.recipe.stage_lookup import load_stage
from pipeline.recipe.wording import json_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
READ_FROM_TEXT = ("ModelSource", "DatasetSource")
NEEDED = ("name", "model", "task", "stages")

Schema = dict[str, Any]


def recipe_schema(stages: Mapping[str, Any]) -> Schema:
    """Return the JSON schema of a recipe whose stages may use what ``stages`` names.

    Each stage is told apart by its ``uses``. A recipe that ``extends`` another may leave out anything, and may give
    ``stages`` as a mapping from name to the fields it changes.
    """
    document = json_schema(RecipeDocument)
    definitions = dict(document["$defs"])
    for name in READ_FROM_TEXT:
        as_mapping = definitions[name]
        definitions[name] = {"description": as_mapping["description"], "anyOf": [{"type": "string"}, as_mapping]}
    definitions["TaskSource"] = _without_required(definitions["TaskSource"])
    for uses, reference in stages.items():
        config = load_stage(reference).Config
        inner = dict(json_schema(config))
        definitions.update(inner.pop("$defs", {}))
        definitions[_definition(uses)] = _stage(uses, config, inner)
    return {
        "$schema": DIALECT,
        **_without_required({key: value for key, value in document.items() if key != "$defs"}),
        "properties": {**document["properties"], "stages": _stages(stages)},
        "anyOf": [{"required": ["extends"]}, {"required": list(NEEDED)}],
        "$defs": definitions,
    }


def _stages(stages: Mapping[str, Any]) -> Schema:
    options = [{"$ref": f"#/$defs/{_definition(uses)}"} for uses in stages]
    fields = {"description": "the fields to change of a stage of the recipe extended", "type": "object"}
    return {
        "anyOf": [
            {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["uses"], "oneOf": options}},
            {"type": "object", "additionalProperties": fields},
        ]
    }


def _stage(uses: str, config: type[BaseModel], schema: Schema) -> Schema:
    name = {"type": "string", "pattern": f"^{STAGE_NAME.pattern}$", "description": "unique; default: what it uses"}
    properties = {"uses": {"const": uses}, "name": name, **schema["properties"]}
    return {**_without_required(schema), "properties": properties, "required": ["uses"]}


def _definition(uses: str) -> str:
    return f"stage-{uses}"


def _without_required(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "required"}
