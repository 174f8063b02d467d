"""The recipes that come with the package, by name."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.recipe.mistakes import did_you_mean

FOLDER = Path(__file__).parent.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Return the shipped recipes' files by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"), key=lambda path: path.stem)}


def find_recipe(source: str | Path, folder: Path | None = None) -> Path:
    """Return the file that ``source`` means: a path (relative to ``folder``), or a shipped recipe's name."""
    path = Path(source) if folder is None else folder / source
    shipped = shipped_recipes()
    if os.path.isfile(path):
        return path
    if str(source) in shipped:
        return shipped[str(source)]
    if os.path.isdir(path):
        inside = path / "recipe.yaml"
        hint = f"; give {inside}" if inside.is_file() else "; give a file"
        raise RecipeError(f"{path}: a recipe must be a file, got a folder{hint}")
    near = did_you_mean(source, list(shipped))
    raise RecipeError(f"{path}: no such recipe{near}; give a YAML file or a shipped one: {', '.join(shipped)}")


def shipped_recipe(name: str) -> Path:
    """Return the file of a shipped recipe; raises ``RecipeError`` listing them for any other name."""
    shipped = shipped_recipes()
    if name not in shipped:
        raise RecipeError(f"{name}: no such recipe{did_you_mean(name, list(shipped))}; shipped: {', '.join(shipped)}")
    return shipped[name]


def summary(path: Path) -> str:
    """Return the sentence that a shipped recipe's comment begins with."""
    lines = path.read_text("utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in lines[: _first_key(lines)]]
    return " ".join(comment)


def _first_key(lines: list[str]) -> int:
    return next(index for index, line in enumerate(lines) if not line.startswith("#"))
