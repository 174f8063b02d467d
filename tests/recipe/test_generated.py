"""Recipes with one leaf changed at random: each is read, or refused line by line, and nothing else happens."""

import copy
import random
import re

import pytest
from ruamel.yaml import YAML

from pipeline.errors import DataError, RecipeError, UnsupportedArchitecture
from pipeline.recipe import Recipe, load_recipe, shipped_recipes
from pipeline.runner import build_plan
from pipeline.runner.execution import _prepare
from stages import STAGES

COUNT = 300
STRANGE = [
    None, True, False, 0, 1, -1, 3, 10**30, -(10**30), 0.0, 0.5, 1.0, 1.5, -0.5, 1e-300, float("nan"), float("inf"), "",
    " ", "x", "source", "finetune", "../..", "/nowhere", "a/b", "a/b/c", "2:4", "\n", "\x00", "ä" * 300, "*", "null",
    [], [None], [1, 2], ["x", "x"], [[]], {}, {"a": 1}, {"path": 3}, {"uses": "finetune"}, {"": ""},
]  # fmt: skip
TINY = {
    "name": "tiny",
    "seed": 3,
    "model": {
        "config": {
            "model_type": "bert",
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
            "max_position_embeddings": 64,
        },
        "trust_remote_code": False,
    },
    "task": {
        "type": "text-classification",
        "dataset": {"builtin": "grammar", "rows": 8, "seed": 0},
        "text": ["text", "other"],
        "label": "label",
        "labels": ["negative", "positive"],
        "train": "train",
        "validation": ["validation"],
        "select": 0.5,
        "metric": ["accuracy", "f1"],
        "max_length": 64,
        "regression": False,
        "train_rows": 8,
        "validation_rows": 4,
    },
    "training": {"epochs": 1, "batch_size": 4},
    "stages": [{"uses": "finetune"}, {"uses": "distill", "teacher": "source"}],
}
PARTS = re.compile(r"^(recipe(:\d+)?|--set|\S+\.yaml:\d+): ")


def places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(document, draw):
    """Return a copy with one place replaced, removed, renamed or doubled, and what was done."""
    document = copy.deepcopy(document)
    path = draw.choice(list(places(document)))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    key, kind = path[-1], draw.choice(["replace", "replace", "replace", "remove", "rename", "double"])
    if kind == "remove":
        del parent[key]
    elif kind == "rename" and isinstance(parent, dict):
        parent[draw.choice(["", "x", "epochs", "name", "uses", "stages", key + "s"])] = parent.pop(key)
    elif kind == "double" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    else:
        parent[key] = copy.deepcopy(draw.choice(STRANGE))
    return document, f"{kind} {path}"


def outcome(source, **options):
    """Return the recipe, or the error that refuses it; anything else is let through."""
    try:
        return load_recipe(source, stages=STAGES, **options)
    except RecipeError as error:
        return error


def test_300_recipes_with_one_random_change_are_read_or_refused_in_the_house_form():
    draw = random.Random(0)
    loader = YAML(typ="safe", pure=True)
    documents = [loader.load(path) for path in shipped_recipes().values()]
    counts = {Recipe: 0, RecipeError: 0}
    for _ in range(COUNT):
        document, what = changed(draw.choice(documents), draw)
        result = outcome(document)
        counts[type(result)] += 1
        if isinstance(result, Recipe):
            assert load_recipe(result.document(), stages=STAGES) == result, what
        else:
            assert all(PARTS.match(line) for line in str(result).splitlines()), f"{what}: {result}"
    assert counts[Recipe] > 20
    assert counts[RecipeError] > 100


def test_random_overrides_are_applied_or_refused_in_one_line():
    draw = random.Random(1)
    recipe = load_recipe("quickstart", stages=STAGES)
    paths = [path for path, _, _ in recipe.values()] + ["stages", "task", "model", "stages.9.x", "x.y", "stages.*.z"]
    values = ["", "1", "[", "{a: 1}", "x", ".nan", "-1", "true", "!!set {}"]
    refused = 0
    for _ in range(COUNT // 2):
        override = f"{draw.choice(paths)}={draw.choice(values)}"
        result = outcome("quickstart", overrides=[override])
        if isinstance(result, RecipeError):
            refused += 1
            assert str(result).startswith("--set: ") or "quickstart.yaml:" in str(result), f"{override}: {result}"
    assert refused > 50


@pytest.fixture
def no_network(monkeypatch):
    class Hub:
        def repo_info(self, *args, **options):
            raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)


def prepared(recipe, run_dir):
    """Return the error by which the checks before training refuse a recipe, None if they do not."""
    try:
        _prepare(build_plan(recipe, run_dir, STAGES))
    except RecipeError as error:
        return error
    return None


def test_recipes_with_one_random_change_pass_the_checks_before_training_or_are_refused_in_one_line(
    tmp_path, monkeypatch, no_network
):
    folder = tmp_path / "the" / "working" / "folder"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    draw = random.Random(2)
    counts = {type(None): 0, RecipeError: 0, DataError: 0, UnsupportedArchitecture: 0}
    for _ in range(COUNT):
        document, what = changed(TINY, draw)
        recipe = outcome(document)
        if not isinstance(recipe, Recipe):
            continue
        result = prepared(recipe, folder / "run")
        assert result is None or "\n" not in str(result), what
        counts[type(result)] += 1
    assert list(folder.iterdir()) == []
    assert counts[type(None)] > 20
    assert counts[RecipeError] > 5
    assert counts[DataError] > 5
