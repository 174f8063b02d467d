"""A mapping of an old file whose every key is asked for once: what nobody asks for is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.recipe.document import Located, Path_, dotted
from pipeline.recipe.mistakes import Mistake, Origin, did_you_mean, refuse, shown

Value = TypeVar("Value")
NOTHING = (None, "None", "none", "")
"""What stands for "not given": YAML's null, and the word that Python's None leaves in YAML."""


@dataclass
class Ledger:
    """What a conversion found: mistakes, which refuse it, and notes on what the recipe says otherwise or not at all."""

    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse_mistakes(self) -> None:
        """Raise ``RecipeError`` with every mistake, a line each, if there are any."""
        refuse(self.mistakes)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True)
class Item:
    """A value of an old file and the dotted path it stands at."""

    located: Located
    path: Path_

    @property
    def value(self) -> Any:
        """Return the value as ordinary dictionaries, lists and scalars."""
        return self.located.plain()


class Section:
    """The keys of one mapping; ``close`` refuses those that were not asked for."""

    def __init__(self, items: Mapping[str, Item], ledger: Ledger, path: Path_, origin: Origin) -> None:
        self._items = dict(items)
        self._asked: dict[str, None] = {}
        self.ledger = ledger
        self.path = path
        self.origin = origin

    @classmethod
    def of(cls, located: Located, ledger: Ledger, path: Path_ = ()) -> Section:
        """Return the section of a mapping that stands at ``path``."""
        items = {key: Item(item, (*path, key)) for key, item in located.value.items()}
        return cls(items, ledger, path, located.origin)

    def __contains__(self, name: str) -> bool:
        return name in self._items and self._items[name].located.value not in NOTHING

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def over(self, defaults: Section) -> Section:
        """Return this section with what it lacks taken from ``defaults``, whose own keys keep their place."""
        own = {name: item for name, item in self._items.items() if name in self}
        return Section({**defaults._items, **own}, self.ledger, self.path, self.origin)

    def without(self, *names: str) -> Section:
        """Return this section without the keys ``names``."""
        left = {name: item for name, item in self._items.items() if name not in names}
        return Section(left, self.ledger, self.path, self.origin)

    def renamed(self, names: Mapping[str, str]) -> Section:
        """Return this section with keys under other names; a setting that is given under two of them is refused."""
        items: dict[str, Item] = {}
        for name, item in self._items.items():
            known = names.get(name, name)
            if known in items:
                first = dotted(items[known].path)
                message = f"says the same as {first}; take one of them out"
                self.ledger.mistakes.append(Mistake(item.located.origin, dotted(item.path), message))
            items.setdefault(known, item)
        return Section(items, self.ledger, self.path, self.origin)

    def take(self, name: str) -> Item | None:
        """Return what stands under ``name``, None where nothing does; from then on the key is asked for."""
        self._asked[name] = None
        return self._items[name] if name in self else None

    def read(self, name: str, reads: Callable[[Any], Value | None], allowed: str, default: Value) -> Value:
        """Return what ``reads`` makes of the value; where it makes None of it, refuse it as not ``allowed``."""
        item = self.take(name)
        if item is None:
            return default
        value = reads(item.value)
        if value is None:
            self.mistake(name, f"must be {allowed}, got {shown(item.value)}")
            return default
        return value

    def number(self, name: str, default: float, *, low: float = 0.0, high: float | None = None) -> float:
        """Return a number from ``low`` to ``high``; an integer counts as one."""
        span = f"a number of at least {low:g}" if high is None else f"a number in [{low:g}, {high:g}]"

        def reads(value: Any) -> float | None:
            number = _as_number(value)
            return number if number is not None and low <= number <= (number if high is None else high) else None

        return self.read(name, reads, span, default)

    def integer(self, name: str, default: int, *, low: int = 0) -> int:
        """Return an integer of at least ``low``; ``5.0`` counts as one."""

        def reads(value: Any) -> int | None:
            number = _as_number(value)
            return int(number) if number is not None and number.is_integer() and number >= low else None

        return self.read(name, reads, f"an integer of at least {low}", default)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return true or false, also where they are written as text, as older tools did."""
        words = {"true": True, "false": False}
        return self.read(name, lambda value: words.get(str(value).lower()), "true or false", default)

    def text(self, name: str, default: str = "") -> str:
        """Return text."""
        return self.read(name, lambda value: value if isinstance(value, str) else None, "text", default)

    def texts(self, name: str) -> list[str]:
        """Return a list of texts; one text is a list of one."""

        def reads(value: Any) -> list[str] | None:
            values = [value] if isinstance(value, str) else value
            return values if isinstance(values, list) and all(isinstance(each, str) for each in values) else None

        return self.read(name, reads, "a list of texts", [])

    def choice(
        self, name: str, choices: Mapping[str, str], default: str, hints: Mapping[str, str] | None = None
    ) -> str:
        """Return what the word stands for in ``choices``; a refused word of ``hints`` is told what to do instead."""
        item = self.take(name)
        if item is None:
            return default
        word = item.value
        if isinstance(word, str) and word in choices:
            return choices[word]
        hint = (hints or {}).get(word, "") if isinstance(word, str) else ""
        told = f"; {hint}" if hint else ""
        self.mistake(name, f"must be one of {', '.join(choices)}, got {shown(word)}{told}")
        return default

    def inner(self, name: str) -> Section | None:
        """Return the mapping under ``name`` as a section."""
        item = self.take(name)
        if item is None:
            return None
        if not isinstance(item.located.value, dict):
            self.mistake(name, f"must be a mapping of keys to values, got {shown(item.value)}")
            return None
        return Section.of(item.located, self.ledger, item.path)

    def inners(self, name: str) -> list[Section]:
        """Return the list of mappings under ``name`` as sections."""
        item = self.take(name)
        if item is None:
            return []
        entries = item.located.value
        if not isinstance(entries, list) or not all(isinstance(entry.value, dict) for entry in entries):
            self.mistake(name, f"must be a list of mappings, got {shown(item.value)}")
            return []
        return [Section.of(entry, self.ledger, (*item.path, index)) for index, entry in enumerate(entries)]

    def mistake(self, name: str, message: str) -> None:
        """Refuse the value under ``name``, or its absence."""
        item = self._items.get(name)
        origin = self.origin if item is None else item.located.origin
        path = (*self.path, name) if item is None else item.path
        self.ledger.mistakes.append(Mistake(origin, dotted(path), message))

    def refuse(self, name: str, message: str, *, unless: tuple[Any, ...] = ()) -> None:
        """Refuse the key if it is given with another value than those of ``unless``, which change nothing."""
        item = self.take(name)
        if item is not None and item.value not in unless:
            self.mistake(name, f"{message}, got {shown(item.value)}")

    def leave_out(self, name: str, why: str) -> None:
        """Note that the key is left out, and why, if it is given."""
        item = self.take(name)
        if item is not None:
            self.note(name, f"left out: {why}")

    def note(self, name: str, text: str) -> None:
        """Note something about the value under ``name``."""
        item = self._items[name]
        self.ledger.note(f"{item.located.origin.short()}: {dotted(item.path)}: {text}")

    def close(self) -> None:
        """Refuse every key that nobody asked for."""
        known = list(self._asked)
        for name in self._items:
            if name not in self._asked:
                near = did_you_mean(name, known)
                self.mistake(name, f"unknown key{near}; allowed: {', '.join(known)}")


def _as_number(value: Any) -> float | None:
    """Return an integer or a number, also one that YAML 1.2 reads as text (``1.e-9``), as a float."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
