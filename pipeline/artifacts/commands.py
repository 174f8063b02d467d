"""The command that brings a run up to date, as messages tell it: one that works where it is typed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from pipeline.artifacts.layout import RECIPE

UNFIT = re.compile(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._-]+")
"""What no run may be called by."""
PLAIN_TEXT = re.compile(r"(?!(?:true|false|null)$)[A-Za-z][A-Za-z0-9._-]*", re.IGNORECASE)
"""What YAML reads as text without quotes."""


def run_command(run_dir: Path, from_stage: str | None = None) -> str:
    """Return the command that runs the recipe in ``run_dir`` there, from ``from_stage`` on if that is given.

    A run goes by its folder's name, so one that was renamed is told its new name; a folder that no run can be called
    by is first renamed.
    """
    place = run_dir if run_dir.name not in ("", "..") else run_dir.resolve()
    name = UNFIT.sub("-", place.name).strip("-") or "run"
    moved = place.with_name(name)
    words = ["pruneline", "run", str(moved / RECIPE) if (place / RECIPE).exists() else "RECIPE"]
    words += [] if from_stage is None else ["--from", from_stage]
    words += [] if _recipe_name(place) in (name, None) else ["--set", f"name={_as_yaml(name)}"]
    words += [] if place.parent == Path("runs") else ["--runs-dir", str(place.parent)]
    before = "" if moved == place else f"{shlex.join(['mv', str(place), str(moved)])} && "
    return f"{before}{shlex.join(words)}"


def _recipe_name(run_dir: Path) -> str | None:
    """Return the name in the run's recipe; None where it cannot be read."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        recipe = YAML(typ="safe", pure=True).load((run_dir / RECIPE).read_text("utf-8"))
    except (OSError, ValueError, YAMLError):
        return None
    return str(recipe["name"]) if isinstance(recipe, dict) and "name" in recipe else None


def _as_yaml(name: str) -> str:
    return name if PLAIN_TEXT.fullmatch(name) else json.dumps(name)
