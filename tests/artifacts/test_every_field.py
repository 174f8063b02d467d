"""One case per field of a recipe: another value changes the documents of the right stages, in that field alone."""

import copy
import hashlib

import pytest
from pydantic import BaseModel

from pipeline.artifacts.fingerprint import explain
from pipeline.artifacts.hub import HubCommits
from pipeline.artifacts.run import Run
from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe
from pipeline.recipe.document_model import RecipeDocument
from pipeline.recipe.values import display_fields
from pipeline.recipe.wording import json_schema
from pipeline.runner.inspection import Inspector
from stages import STAGES

FILES = {"train": "hf://t.csv", "validation": "hf://v.csv"}
SOURCES = {
    "digits": {"builtin": "digits"},
    "grammar": {"builtin": "grammar", "rows": 50, "seed": 1},
    "hub": {"path": "some/data", "name": "part", "revision": "v1", "data_files": {"train": "t.csv"}},
    "addresses": {"path": "csv", "data_files": FILES},
}
MODELS = {"scratch": {"config": {"model_type": "bert"}}, "hub": {"pretrained": "some/model", "revision": "v1"}}
OPTIONS = {"prune_heads": {"sparsity": 0.5, "distill": {}}, "sparsify": {"distill": {}}}
VALUES = (
    None, True, False, 2, 3, 64, 0.3, 0.7, "image", "x", "f1", "finetune", "some/other", [0.5, 0.6], ["a", "b"],
    {"train": "u.csv"}, {"train": "u.csv", "validation": "hf://v.csv"}, {"model_type": "roberta"}, {},
    "4x1", ["Linear"], [{"include": ["query"], "sparsity": 0.5}], ["qk"],
)  # fmt: skip
"""A field is set to the first of the words its schema lists, and of these, that it takes and does not have yet."""
NOT_COUNTED = {
    "name": "names the folder only",
    "model.trust_remote_code": "a permission",
    "task.trust_remote_code": "a permission",
    "task.dataset.trust_remote_code": "a permission",
    "task.image": "not read over text",
    "task.greater_is_better": "counts only where the epoch of the least score is kept",
    "stages.*.teacher": "counts by the content of what it names",
}
PARTS = {"extends", "model", "task", "training", "stages"}
"""Keys of a recipe that are no values: what ``extends`` names is laid under it and gone."""


def base(dataset="grammar", model="scratch"):
    stages = [{"uses": uses, **OPTIONS.get(uses, {})} for uses in STAGES]
    task = {"type": "text-classification", "text": "text", "dataset": SOURCES[dataset]}
    return copy.deepcopy(
        {"name": "one", "model": MODELS[model], "task": task, "training": {"epochs": 2}, "stages": stages}
    )


def fields(part, path):
    """Yield the dotted path of every field below ``part``, with the model it belongs to."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from fields(value, f"{path}.{name}")
        else:
            yield f"{path}.{name}", type(part)


def cases():
    """Return ``(data set, model, dotted path, model class)`` for each field, where it can be set at all."""
    for dataset, model in (("grammar", "scratch"), ("digits", "scratch"), ("hub", "hub"), ("addresses", "hub")):
        recipe = load_recipe(base(dataset, model), stages=STAGES)
        found = [*fields(recipe.task.dataset, "task.dataset"), *fields(recipe.model, "model")]
        if dataset == "grammar":
            found += [(name, RecipeDocument) for name in RecipeDocument.model_fields if name not in PARTS]
            found += [item for item in fields(recipe.task, "task") if not item[0].startswith("task.dataset.")]
            found += fields(recipe.training, "training")
            for stage in recipe.stages:
                found += fields(stage.config, f"stages.{stage.name}")
        for path, owner in found:
            if (dataset, path) == ("grammar", "task.dataset.builtin"):
                continue  # digits take neither rows nor seed
            yield pytest.param(dataset, model, path, owner, id=f"{dataset}-{path}")


def changed(document, path, value):
    document = copy.deepcopy(document)
    *way, last = path.split(".")
    place = document
    for key in way:
        if isinstance(place, list):
            place = next(stage for stage in place if stage["uses"] == key)
        else:
            place = place.setdefault(key, {})
    place[last] = value
    if last == "steps":
        place.pop("epochs", None)
    return document


def value_at(recipe, path):
    return {found: value for found, value, _ in recipe.values()}.get(path)


def other_recipe(document, path, owner):
    """Return the recipe with another value at ``path``; None if it can have none, where others exclude the field."""
    name = path.rpartition(".")[2]
    schema = json_schema(owner)["properties"][name]
    words = [word for option in [schema, *schema.get("anyOf", [])] for word in option.get("enum", [])]
    before = load_recipe(document, stages=STAGES)
    for value in (*words, *VALUES):
        try:
            recipe = load_recipe(changed(document, path, value), stages=STAGES)
        except RecipeError:
            continue
        if recipe != before:
            return recipe
    return None


@pytest.fixture
def documents(tmp_path, monkeypatch):
    """A function from a recipe to the document of each stage, with empty artifacts and a hub that has every commit."""
    monkeypatch.setattr(
        HubCommits, "commit", lambda self, *asked: hashlib.sha1(repr(asked).encode(), usedforsecurity=False).hexdigest()
    )

    def describe(recipe):
        inspector = Inspector(recipe, Run(tmp_path / "run"), STAGES)
        names = [stage.name for stage in recipe.stages]
        return {name: inspector._document(index, {}, unknown=names) for index, name in enumerate(names)}

    return describe


@pytest.mark.parametrize(("dataset", "model", "path", "owner"), list(cases()))
def test_a_field_changes_the_documents_of_its_stages_and_nothing_else(documents, dataset, model, path, owner):
    document = base(dataset, model)
    other = other_recipe(document, path, owner)
    if other is None:
        assert value_at(load_recipe(document, stages=STAGES), path) is None, f"{path}: no other value was found"
        return
    old, new = documents(load_recipe(document, stages=STAGES)), documents(other)
    head, *rest = path.split(".")
    name = rest[-1] if rest else head
    pattern = ".".join(["stages", "*", *rest[1:]]) if head == "stages" else path
    affected = {"stages": rest[:1], "model": list(STAGES)[:1]}.get(head, list(STAGES))
    if name in display_fields(owner) or pattern in NOT_COUNTED:
        affected = []
    places = {"stages": "config." + ".".join(rest[1:]), "training": f"config.{name}", "seed": "seed"}
    place = places.get(
        head, "data" if path.startswith("task.dataset.") else {"model": "parent", "task": "task"}.get(head)
    )
    for stage in old:
        fields_changed = [change.field for change in explain(old[stage], new[stage])]
        assert bool(fields_changed) == (stage in affected), f"{stage}: {fields_changed}"
        allowed = (str(place), "parent.seed") if head == "seed" else (str(place),)
        if head == "training":  # a stage may take it over under a name of its own
            names = getattr(other.stage(stage).config, "inherits_as", {})
            allowed = (f"config.{names.get(name, name)}",)
        assert all(field.startswith(allowed) or name == "steps" for field in fields_changed), fields_changed


def test_no_field_is_listed_as_not_counted_that_is_not_there():
    there = {param.values[2] for param in cases()}
    assert {path.replace("*", "finetune") for path in NOT_COUNTED} <= there


def test_over_images_the_fields_of_text_do_not_count(documents):
    document = base()
    document["task"] |= {"type": "image-classification", "dataset": {"builtin": "digits"}}
    old = documents(load_recipe(document, stages=STAGES))
    for field, value in (("text", "other"), ("max_length", 7)):
        assert documents(load_recipe(changed(document, f"task.{field}", value), stages=STAGES)) == old
    assert documents(load_recipe(changed(document, "task.image", "picture"), stages=STAGES)) != old
