"""``--set dotted.path=value`` and ``--vary``: the last word on a recipe; a stage is its name, its number, or ``*``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import RecipeError
from pipeline.recipe.document import Located, Path_, dotted, read_text
from pipeline.recipe.merge import displaced, normalized, stage_name
from pipeline.recipe.mistakes import Mistake, Origin, did_you_mean, refuse, shown

SET, VARY = Origin("--set"), Origin("--vary")
EVERY_STAGE = "*"


@dataclass(frozen=True)
class Override:
    """One ``--set``: the path in its parts, and the value read as YAML."""

    path: tuple[str, ...]
    value: Located


def apply_overrides(document: Located, overrides: Sequence[str], origin: Origin = SET) -> Located:
    """Return the document with every override laid on it in turn; raises ``RecipeError`` listing all that cannot be.

    ``origin`` is the option that gave them.
    """
    mistakes: list[Mistake] = []
    for text in overrides:
        try:
            override = _read(text, origin)
            for path in _places(document, override.path):
                document = _assign(document, path, override.value, ())
            document = normalized(document)
        except RecipeError as error:
            mistakes.append(Mistake(origin, "", str(error)))
    refuse(mistakes)
    return document


def _read(text: str, origin: Origin) -> Override:
    path, equals, value = text.partition("=")
    parts = tuple(path.strip().split("."))
    if not equals or not all(parts):
        raise RecipeError(f"must be dotted.path=value such as stages.prune_heads.sparsity=0.5, got {shown(text)}")
    if parts[0] == "extends":
        raise RecipeError("extends: belongs into a recipe file; run the other recipe instead")
    try:
        read = read_text(value, "value")
    except RecipeError as error:
        raise RecipeError(f"{path}: {shown(value)} {str(error).partition(': ')[2]}; quote it") from None
    return Override(parts, _from_command_line(read, origin) if read is not None else Located(None, origin))


def _from_command_line(value: Located, origin: Origin) -> Located:
    if isinstance(value.value, dict):
        return Located({key: _from_command_line(item, origin) for key, item in value.value.items()}, origin)
    if isinstance(value.value, list):
        return Located([_from_command_line(item, origin) for item in value.value], origin)
    return Located(value.value, origin)


def _places(document: Located, path: tuple[str, ...]) -> list[Path_]:
    """Return the paths meant, stages by index; ``stages.*.epochs`` means one in every stage."""
    if path[0] != "stages" or len(path) == 1:
        return [path]
    stages = document.find(("stages",)).value if document.has(("stages",)) else None
    if not isinstance(stages, list):
        raise RecipeError(f"{dotted(path)}: the recipe has no list of stages")
    names = [stage_name(stage) for stage in stages]
    if path[1] == EVERY_STAGE:
        return [("stages", index, *path[2:]) for index in range(len(stages))]
    if path[1] in names:
        return [("stages", names.index(path[1]), *path[2:])]
    if path[1].isdecimal() and int(path[1]) < len(stages):
        return [("stages", int(path[1]), *path[2:])]
    known = [name for name in names if name is not None]
    raise RecipeError(f"{dotted(path)}: no such stage{did_you_mean(path[1], known)}; there are: {', '.join(known)}")


def _assign(place: Located, rest: Path_, value: Located, done: Path_) -> Located:
    """Return ``place`` with ``value`` at the path ``rest`` below it; what contradicts a new value is taken out."""
    if not rest:
        return value
    key, here = rest[0], (*done, rest[0])
    if isinstance(place.value, list):
        index = int(key) if str(key).isdecimal() else len(place.value)
        if index >= len(place.value):
            raise RecipeError(f"{dotted(here)}: no such place in a list of {len(place.value)}; count from 0")
        items = list(place.value)
        items[index] = _assign(items[index], rest[1:], value, here)
        return Located(items, place.origin)
    if place.value is None:
        place = Located({}, value.origin)
    if not isinstance(place.value, dict):
        raise RecipeError(f"{dotted(here)}: {dotted(done)} is {shown(place.plain())}, which has no keys")
    items_by_key = dict(place.value)
    inner = _assign(items_by_key.get(str(key), Located(None, value.origin)), rest[1:], value, here)
    for rival in displaced(place, done, str(key), inner):
        if rival in items_by_key and (items_by_key[rival].origin not in (SET, VARY) or rival in ("epochs", "steps")):
            del items_by_key[rival]
    return Located({**items_by_key, str(key): inner}, place.origin)
