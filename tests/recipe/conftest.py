"""A recipe with every kind of value, written out so that lines can be pointed at."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import Recipe, load_recipe
from stages import STAGES

TEXT = """\
name: example
seed: 7
model: some/model
task:
  type: text-classification
  dataset: {path: some/data, name: sst2}
  text: sentence
training:
  batch_size: 16
  learning_rate: 1e-4
stages:
  - {uses: finetune, epochs: 2}
  - uses: prune_heads
    epochs: 4
    sparsity: 0.5
  - {uses: distill, name: recover_heads}
  - {uses: prune_ffn, steps: 100}
"""


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Write a recipe file, by default ``TEXT``, with pieces of it replaced."""

    def write_recipe(*edits: tuple[str, str], text: str = TEXT, name: str = "recipe.yaml") -> Path:
        for old, new in edits:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write_recipe


@pytest.fixture
def load(write) -> Callable[..., Recipe]:
    """Load a recipe file with pieces replaced and values overridden."""

    def load_edited(*edits: tuple[str, str], overrides: tuple[str, ...] = (), text: str = TEXT) -> Recipe:
        return load_recipe(write(*edits, text=text), stages=STAGES, overrides=overrides)

    return load_edited


@pytest.fixture
def mistakes(load, tmp_path) -> Callable[..., list[str]]:
    """Return the lines of the error that loading raises, the file's folder left out."""

    def lines(*edits: tuple[str, str], overrides: tuple[str, ...] = (), text: str = TEXT) -> list[str]:
        with pytest.raises(RecipeError) as caught:
            load(*edits, overrides=overrides, text=text)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return lines
