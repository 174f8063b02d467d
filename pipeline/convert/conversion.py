"""From an old file to a recipe: whose form it is, what it says, and that the recipe can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.convert import intel_pruners, intel_weights, neurst
from pipeline.convert.domain import Translated
from pipeline.convert.reading import read_old_file
from pipeline.convert.recipe_text import recipe_document, recipe_text
from pipeline.convert.section import Ledger, Section
from pipeline.errors import RecipeError
from pipeline.recipe.document import Located, read_text
from pipeline.recipe.load import load_recipe

FORMS = (
    "Intel Neural Compressor's (pruning.approach.weight_compression with pruners, or the settings of a "
    "WeightPruningConfig) or NeurST's (flags such as pruning_schedule, target_sparsity, end_pruning_step)"
)
SEVERAL = "a layer that several pruners name belongs to the first group of the recipe that finds it"


@dataclass(frozen=True)
class Conversion:
    """A recipe made of an old file: its YAML, and a line for everything that it says otherwise or leaves out."""

    text: str
    notes: tuple[str, ...]


def convert(
    path: Path,
    *,
    stages: Mapping[str, Any],
    like: Mapping[str, Any] | None = None,
    steps_per_epoch: int | None = None,
) -> Conversion:
    """Return the recipe that says what the old file in ``path`` does, with the model and task of the recipe ``like``.

    Raises one ``RecipeError`` that names every key which cannot be translated, a line each, and for a file of another
    form.
    """
    ledger = Ledger()
    translated = _translate(read_old_file(path), path, ledger, steps_per_epoch)
    ledger.refuse_mistakes()
    if len(translated.domains) > 1:
        ledger.note(SEVERAL)
    document = recipe_document(translated, path, like)
    is_whole = like is not None
    text = recipe_text(document, source=path, tool=translated.tool, notes=ledger.notes, is_whole=is_whole)
    written = read_text(text, str(path))
    assert written is not None, "a recipe is not empty"
    assert written.plain() == document, "what is written is read as what was meant"
    try:
        load_recipe(document, stages=stages)
    except RecipeError as error:
        lines = str(error).replace("recipe: ", "").splitlines()
        raise RecipeError("\n".join(f"{path}: its recipe is refused: {line}" for line in lines)) from None
    return Conversion(text, tuple(ledger.notes))


def _translate(found: Located, path: Path, ledger: Ledger, steps_per_epoch: int | None) -> Translated:
    if isinstance(found.value, list):  # the bare list of settings that WeightPruningConfig takes
        listed = Located({"pruning_configs": found}, found.origin)
        return intel_weights.translate(Section.of(listed, ledger), ())
    root = Section.of(found, ledger)
    if "stages" in root:
        raise RecipeError(f"{path}: is a recipe already; must be in the form of {FORMS}")
    entry = found.find(("entry.params",)).value
    keys = {*root, *(entry if isinstance(entry, dict) else ())}
    if keys & set(neurst.OWN_KEYS):
        return neurst.translate(root)
    place = _place_of_weights(found)
    if place is not None:
        return intel_weights.translate(root, place)
    if any(found.has(("pruning", "approach", name)) for name in intel_pruners.SECTIONS):
        return intel_pruners.translate(root, steps_per_epoch=steps_per_epoch)
    raise RecipeError(f"{path}: is no file that can be converted; must be in the form of {FORMS}")


def _place_of_weights(found: Located) -> tuple[str, ...] | None:
    """Return where the settings of a ``WeightPruningConfig`` stand; None for a file of another form."""
    approach = ("pruning", "approach")
    for place in ((*approach, "weight_compression_v2"), (*approach, "weight_compression"), ("pruning",), ()):
        section = found.find(place)
        if (place and not found.has(place)) or not isinstance(section.value, dict):
            continue
        pruners = section.value.get("pruners")
        entries = pruners.value if pruners is not None and isinstance(pruners.value, list) else []
        keys = {*section.value, *(key for entry in entries if isinstance(entry.value, dict) for key in entry.value)}
        if keys & set(intel_weights.OWN_KEYS) or place[-1:] == ("weight_compression_v2",):
            return place
    return None
