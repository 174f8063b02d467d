"""Reads an old file: YAML whose only tags are those of Intel's pruners, or the flags of a NeurST command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import Node

from pipeline.errors import RecipeError
from pipeline.recipe.document import Located, read_text
from pipeline.recipe.mistakes import Mistake, Origin, refuse

PRUNER_TAGS = ("!Pruner", "!PrunerV2")
TUPLE_TAG = "tag:yaml.org,2002:python/tuple"
PLAIN_TAGS = "tag:yaml.org,2002:"
FLAG = re.compile(r"--[A-Za-z_][\w.]*(=.*)?", re.DOTALL)


def read_old_file(path: Path) -> Located:
    """Return the mapping or list in ``path``; nothing in it is executed. Raises ``RecipeError`` for anything else.

    A pruner's tag says no more than its place does, and is dropped; every other tag is refused by name.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: cannot be converted: must be UTF-8 text") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or error}") from None
    flags = _flags(text, str(path))
    if flags is not None:
        return flags
    _check_tags(text, str(path))
    document = read_text(text, str(path))
    if document is None or not isinstance(document.value, (dict, list)):
        raise RecipeError(f"{path}: cannot be converted: must hold a mapping, a list, or flags such as --key 1")
    return document


def _check_tags(text: str, source: str) -> None:
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except (YAMLError, RecursionError):
        return  # read_text tells of it
    mistakes: list[Mistake] = []
    left, seen = [root] if root is not None else [], set()
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if not node.tag.startswith(PLAIN_TAGS) and node.tag not in PRUNER_TAGS:
            origin = Origin(source, node.start_mark.line + 1)
            mistakes.append(Mistake(origin, "", f"unknown tag {node.tag}; allowed: {', '.join(PRUNER_TAGS)}"))
        elif node.tag.startswith(f"{PLAIN_TAGS}python/") and node.tag != TUPLE_TAG:
            origin = Origin(source, node.start_mark.line + 1)
            mistakes.append(Mistake(origin, "", f"tag {node.tag} would build a Python object; write the plain value"))
        left.extend(_children(node))
    refuse(mistakes)


def _children(node: Node) -> list[Node]:
    if not isinstance(node.value, list):
        return []
    return [child for each in node.value for child in (each if isinstance(each, tuple) else (each,))]


def _flags(text: str, source: str) -> Located | None:
    """Return the ``--key value`` pairs of a command line as a mapping; None for a text that is none.

    Each value keeps its line; a key without a value is true, and what stands before the first flag is the command.
    """
    found: dict[str, Located] = {}
    mistakes: list[Mistake] = []
    if not any(FLAG.match(word) for line in text.splitlines() for word in line.split()[:1]):
        words = text.split()
        if not (words and any(FLAG.fullmatch(word) for word in words) and ":" not in words[0]):
            return None
    name = ""
    for number, line in enumerate(text.splitlines(), start=1):
        origin = Origin(source, number)
        for word in _words(line, origin):
            if FLAG.fullmatch(word):
                name, given, value = word[2:].partition("=")
                if name in found:
                    mistakes.append(Mistake(origin, name, f"is given twice, first on line {found[name].origin.line}"))
                found[name] = Located(_scalar(value) if given else True, origin)
            elif name:
                earlier = found[name].value
                found[name] = Located(_scalar(word) if earlier is True else f"{earlier} {word}", origin)
    refuse(mistakes)
    return Located(found, Origin(source, 1))


def _words(line: str, origin: Origin) -> list[str]:
    try:
        return shlex.split(line.rstrip().removesuffix("\\"), comments=True)
    except ValueError:  # an unquoted regular expression, as (ln/gamma)|(ln/beta), or an open quote
        return line.rstrip().removesuffix("\\").split()


def _scalar(word: str) -> bool | int | float | str:
    """Return a flag's text as the number or truth it spells."""
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
