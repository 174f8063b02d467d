"""Reads YAML 1.2 into plain values that remember the file and line they were written on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.errors import RecipeError
from pipeline.recipe.mistakes import Mistake, Origin, refuse, shown

Path_ = tuple[str | int, ...]
MOST_NODES = 100_000
TAG = "tag:yaml.org,2002:"
TEXT_TAGS = {f"{TAG}{name}" for name in ("str", "timestamp", "value", "merge")}
VALUE_TAGS = {f"{TAG}{name}" for name in ("null", "bool", "int", "float")}


@dataclass(frozen=True)
class Located:
    """A value of a recipe and where it was written; ``value`` is a scalar, or holds further ``Located`` values."""

    value: Any
    origin: Origin

    def plain(self) -> Any:
        """Return the value as ordinary dictionaries, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def find(self, path: Path_) -> Located:
        """Return what stands at ``path``, or the last thing that exists on the way there."""
        place = self
        for key in path:
            in_list = isinstance(place.value, list) and isinstance(key, int) and key < len(place.value)
            if not in_list and not (isinstance(place.value, dict) and key in place.value):
                break
            place = place.value[key]
        return place

    def has(self, path: Path_) -> bool:
        """Say whether something was written at ``path``."""
        place = self
        for key in path:
            if isinstance(place.value, dict) and key in place.value:
                place = place.value[key]
            else:
                return False
        return True

    def leaves(self, path: Path_ = ()) -> Iterator[tuple[Path_, Located]]:
        """Yield every scalar and its path, in the order written."""
        items: Any = ()
        if isinstance(self.value, dict):
            items = self.value.items()
        elif isinstance(self.value, list):
            items = enumerate(self.value)
        else:
            yield path, self
        for key, item in items:
            yield from item.leaves((*path, key))

    def with_items(self, **items: Located) -> Located:
        """Return this mapping with ``items`` added or replaced."""
        return Located({**self.value, **items}, self.origin)


def dotted(path: Path_) -> str:
    """Return ``("task", "text", 0)`` as ``task.text.0``."""
    return ".".join(str(part) for part in path)


def read_file(path: Path) -> Located:
    """Return the mapping in a YAML file; raises ``RecipeError`` for anything else."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: is not a YAML file: must be UTF-8 text") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or error}") from None
    document = read_text(text, str(path))
    if document is None or document.value is None:
        raise RecipeError(f"{path}: is empty; a recipe holds at least model, task and stages")
    if not isinstance(document.value, dict):
        got = shown(document.plain())
        raise RecipeError(f"{path}:{document.origin.line}: a recipe must be a mapping of keys to values, got {got}")
    return document


def read_text(text: str, source: str) -> Located | None:
    """Return the one YAML document in ``text``; None when there is none, ``RecipeError`` when it is not YAML."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        return None if node is None else _Construction(source).document(node)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise RecipeError(f"{source}{line}: is not YAML: {' '.join(str(error.problem).split())}") from None
    except YAMLError as error:
        raise RecipeError(f"{source}: is not YAML: {getattr(error, 'reason', error)}") from None
    except RecursionError:
        raise RecipeError(f"{source}: is nested too deeply to be a recipe") from None


def from_mapping(mapping: Mapping[str, Any], source: str) -> Located:
    """Return a mapping built in Python as if it had been read from a file named ``source``."""
    mistakes: list[Mistake] = []
    origin = Origin(source)

    def located(value: Any, path: Path_) -> Located:
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    mistakes.append(Mistake(origin, dotted(path), f"keys must be text, got {shown(key)}"))
            return Located({str(key): located(item, (*path, str(key))) for key, item in value.items()}, origin)
        if isinstance(value, (list, tuple)):
            return Located([located(item, (*path, index)) for index, item in enumerate(value)], origin)
        if isinstance(value, Path):
            return Located(str(value), origin)
        if value is not None and type(value) not in (str, bool, int, float):
            mistakes.append(Mistake(origin, dotted(path), f"must be plain data, got {shown(value)}"))
        return Located(value, origin)

    document = located(mapping, ())
    refuse(mistakes)
    return document


def unfit_numbers(document: Located) -> dict[Path_, Mistake]:
    """Return a mistake for every ``.nan`` and ``.inf``, which no setting takes."""
    return {
        path: Mistake(leaf.origin, dotted(path), f"must be a finite number, got {shown(leaf.value)}")
        for path, leaf in document.leaves()
        if isinstance(leaf.value, float) and not math.isfinite(leaf.value)
    }


class _Construction:
    """Turns YAML nodes into ``Located`` values, collecting what a recipe cannot hold."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.constructor = YAML(typ="safe", pure=True).constructor
        self.mistakes: list[Mistake] = []
        self.num_nodes = 0

    def document(self, node: Node) -> Located:
        located = self.located(node, self.origin(node), ())
        refuse(self.mistakes)
        return located

    def origin(self, node: Node) -> Origin:
        return Origin(self.source, node.start_mark.line + 1)

    def located(self, node: Node, origin: Origin, path: Path_) -> Located:
        self.num_nodes += 1
        if self.num_nodes > MOST_NODES:
            raise RecipeError(f"{origin}: holds more than {MOST_NODES} values, aliases included: not a recipe")
        if isinstance(node, MappingNode):
            return Located(self.mapping(node, path), origin)
        if isinstance(node, SequenceNode):
            items = enumerate(node.value)
            return Located([self.located(item, self.origin(item), (*path, index)) for index, item in items], origin)
        return Located(self.scalar(node, origin, path), origin)

    def mapping(self, node: MappingNode, path: Path_) -> dict[str, Located]:
        items: dict[str, Located] = {}
        for key_node, value_node in node.value:
            origin, key = self.origin(key_node), key_node.value
            if not isinstance(key_node, ScalarNode) or key_node.tag not in TEXT_TAGS:
                got = key if isinstance(key_node, ScalarNode) else "a list or a mapping"
                self.mistakes.append(Mistake(origin, dotted(path), f"keys must be text, got {got}; quote it"))
            elif key in items:
                first = items[key].origin.line
                message = f"is given twice, first on line {first}; keep one of them"
                self.mistakes.append(Mistake(origin, dotted((*path, key)), message))
            else:
                items[key] = self.located(value_node, origin, (*path, key))
        return items

    def scalar(self, node: Node, origin: Origin, path: Path_) -> Any:
        if node.tag in TEXT_TAGS:
            return str(node.value)
        if node.tag not in VALUE_TAGS:
            self.mistakes.append(Mistake(origin, dotted(path), f"takes no tag, got {node.tag}; write the plain value"))
            return None
        try:
            return self.constructor.construct_object(node)
        except (ValueError, KeyError):
            self.mistakes.append(Mistake(origin, dotted(path), f"is not a number, got {shown(str(node.value))}"))
            return None
