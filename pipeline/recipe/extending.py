"""Follows ``extends:`` from a recipe to those it builds on, and lays them over each other."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.recipe.document import Located, read_file
from pipeline.recipe.merge import merge, normalized
from pipeline.recipe.mistakes import shown
from pipeline.recipe.shipped import find_recipe


def read_recipe_file(path: Path, visited: tuple[Path, ...] = ()) -> Located:
    """Return the recipe in ``path`` laid over all it extends; raises ``RecipeError``, also for a circle."""
    return extended(read_file(path), path.parent, (*visited, path.resolve()))


def extended(document: Located, folder: Path, visited: tuple[Path, ...] = ()) -> Located:
    """Return ``document`` laid over the recipe it ``extends``, looked up from ``folder`` or among those shipped."""
    document = normalized(document)
    if "extends" not in document.value:
        return _with_list_of_stages(document)
    source = document.value["extends"]
    if not isinstance(source.value, str) or not source.value:
        got = shown(source.plain())
        raise RecipeError(f"{source.origin}: extends: must be a recipe file or a shipped recipe's name, got {got}")
    try:
        path = find_recipe(source.value, folder)
    except RecipeError as error:
        raise RecipeError(f"{source.origin}: extends: {error}") from None
    if path.resolve() in visited:
        circle = " -> ".join(step.name for step in (*visited[visited.index(path.resolve()) :], path))
        raise RecipeError(f"{source.origin}: extends: goes in a circle, {circle}; take one of them out")
    own = Located({key: item for key, item in document.value.items() if key != "extends"}, document.origin)
    return merge(read_recipe_file(path, visited), own)


def _with_list_of_stages(document: Located) -> Located:
    stages = document.value.get("stages")
    if stages is not None and isinstance(stages.value, dict):
        raise RecipeError(
            f"{stages.origin}: stages: must be a list of stages, got a mapping; a mapping of names only changes the "
            "stages of a recipe named in extends"
        )
    return document
