"""Labels as the model takes them: class numbers with names, or values to regress."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.recipe.sources import TaskSource
    from pipeline.tasks.rows import Rows

WHOLE, DECIMAL = re.compile(r"-?[0-9]+"), re.compile(r"-?[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?")
TRUTH: Mapping[str, bool] = {"false": False, "true": True}
LARGEST_VALUE = float(np.finfo(np.float32).max)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """The classes of a task in the order of their numbers; no names where values are regressed."""

    column: str
    names: tuple[str, ...]
    by_name: bool
    """Whether the column holds the names (as text, or as the numbers that they write) instead of class numbers."""

    @property
    def is_regression(self) -> bool:
        """Say whether the labels are values instead of classes."""
        return not self.names

    def config_fields(self) -> dict[str, Any]:
        """Return what a model's config must say of its head."""
        if self.is_regression:
            name = self.column
            return {"num_labels": 1, "problem_type": "regression", "id2label": {0: name}, "label2id": {name: 0}}
        return {
            "num_labels": len(self.names),
            "problem_type": "single_label_classification",
            "id2label": dict(enumerate(self.names)),
            "label2id": {name: number for number, name in enumerate(self.names)},
        }

    def check_classes(self, classes: Mapping[Any, Any], whose: str, *, is_trained_further: bool) -> None:
        """Raise ``DataError`` where outputs called ``classes`` (an ``id2label``) would be read as other classes.

        Upper and lower case are one. Names made of numbers, such as ``LABEL_1``, say nothing and are let pass, on
        either side. A head that ``is_trained_further`` may tell other classes, for it learns these, but not the same
        ones in another order, which is a mistake.
        """
        own = [str(name) for _, name in sorted(classes.items(), key=lambda item: int(item[0]))]
        found, needed = [name.casefold() for name in own], [name.casefold() for name in self.names]
        if found == needed or len(found) != len(needed) or _are_numbers(found) or _are_numbers(needed):
            return
        orders = f"the head of {whose} tells {_shown(own)}, the data's classes are {_shown(self.names)}"
        if sorted(found) == sorted(needed):
            wanted = ", ".join(self.names[needed.index(name)] for name in found)
            mend = f"say task.labels: [{wanted}]"
            if not self.by_name:
                mend = f"renumber column {self.column!r} so, or mend task.labels if only its order is wrong"
            raise DataError(f"task.labels: {orders}, in another order; {mend}")
        if not is_trained_further:
            raise DataError(
                f"task.labels: {orders}; take data or a model with the other's classes, or, if they mean the same, "
                "write the data's names into id2label of the model's config.json, in the order of its outputs"
            )
        logger.warning("%s; the head is kept, and trained to tell these", orders)

    def encode(self, rows: Rows) -> np.ndarray:
        """Return the label of every row of the split, ``(rows,)``: int64 classes, or float32 values."""
        values = read_values(rows, self.column)
        if self.is_regression:
            return _as_numbers(values, rows, self.column)
        if self.by_name:
            numbers: dict[Any, int] = {name: number for number, name in enumerate(self.names)}
            numbers |= {written: number for name, number in numbers.items() if (written := _number(name)) is not None}
            encoded = np.array(
                [numbers.get(value, -1) if isinstance(value, (str, int, float)) else -1 for value in values],
                dtype=np.int64,
            )
            wrong = "is not one of the classes"
        else:
            encoded = np.asarray(_as_classes(values, rows, self.column), dtype=np.int64)
            wrong = f"is out of range: class numbers go from 0 to {len(self.names) - 1}"
        outside = np.flatnonzero((encoded < 0) | (encoded >= len(self.names)))
        if len(outside):
            raise DataError(
                f"{_where(rows, self.column, outside[0])}: label {values[outside[0]]!r} {wrong}; "
                f"the classes are {_shown(self.names)}"
            )
        return encoded


def find_labels(source: TaskSource, train: Rows) -> Labels:
    """Return the classes of the training split: ``task.labels``, else the feature's names, else sorted values."""
    if source.regression:
        return Labels(source.label, (), by_name=False)
    given = tuple(source.labels or ())
    feature = train.data.features[source.label]
    names = getattr(feature, "names", None)
    if names:
        return Labels(source.label, given or tuple(names), by_name=True)
    values = read_values(train, source.label)
    if isinstance(values[0], str):
        if not given:
            _check_spaces(values, train, source.label)
        return _checked(Labels(source.label, given or tuple(sorted(set(values))), by_name=True))
    if given and _are_written(given, values):
        return _checked(_unambiguous(Labels(source.label, given, by_name=True)))
    classes = _as_classes(values, train, source.label)
    if given:
        return _checked(Labels(source.label, given, by_name=False))
    found = sorted(set(classes))
    if found != list(range(len(found))):
        raise DataError(
            f"task.label: column {source.label!r} of split {train.split!r} holds the class numbers {_shown(found)}, "
            "which must count from 0 without gaps; list the classes in task.labels, or drop rows without a label"
        )
    return _checked(Labels(source.label, tuple(f"LABEL_{number}" for number in found), by_name=False))


def read_values(rows: Rows, column: str) -> list[Any]:
    """Return the labels of every row as Python values, class numbers of a named feature as their names."""
    values = rows.column(column).to_pylist()
    feature = rows.data.features[column]
    names = getattr(feature, "names", None)
    for row, value in enumerate(values):
        if value is None or (isinstance(value, str) and not value.strip()):
            what = "null" if value is None else "empty"
            raise DataError(f"{_where(rows, column, row)}: the label is {what}; drop the row or give it a label")
        if names and not 0 <= value < len(names):
            raise DataError(
                f"{_where(rows, column, row)}: label {value} is out of range: class numbers go from 0 to "
                f"{len(names) - 1}; -1 marks rows without a label, which cannot be used"
            )
    return [names[value] for value in values] if names else values


def _checked(labels: Labels) -> Labels:
    if len(labels.names) < 2:
        raise DataError(
            f"task.label: column {labels.column!r} holds one class only ({_shown(labels.names)}); two are the least"
        )
    return labels


def holds_decimals(source: TaskSource) -> bool:
    """Say whether the classes are called by decimals, such as 3.10, which as numbers would not be told from 3.1."""
    return any(_number(name) is not None and not WHOLE.fullmatch(name) for name in source.labels or ())


def _are_written(names: Sequence[str], values: Sequence[Any]) -> bool:
    """Say whether the names write numbers, or truth values where the column holds those alone."""
    if all(isinstance(value, bool) for value in values):
        return all(_number(name) in (0, 1) for name in names)
    return all(_number(name) is not None and name.casefold() not in TRUTH for name in names)


def _number(name: str) -> float | None:
    """Return the number, or the truth value, that a name writes; None where it writes neither."""
    if WHOLE.fullmatch(name):
        return int(name)
    return float(name) if DECIMAL.fullmatch(name) else TRUTH.get(name.casefold())


def _unambiguous(labels: Labels) -> Labels:
    first: dict[Any, str] = {}
    for name in labels.names:
        other = first.setdefault(_number(name), name)
        if other != name:
            raise DataError(
                f"task.labels: {other} and {name} are one number, and column {labels.column!r} holds numbers; "
                "name each class once, or give the data's labels as text"
            )
    return labels


def _check_spaces(values: list[str], rows: Rows, column: str) -> None:
    """Raise ``DataError`` where two classes' names differ in nothing but the white space around them."""
    first: dict[str, str] = {}
    for row, value in enumerate(values):
        other = first.setdefault(value.strip(), value)
        if other != value:
            raise DataError(
                f"{_where(rows, column, row)}: labels {other!r} and {value!r} differ in nothing but white space, and "
                "would be two classes; write both alike, or list the classes in task.labels"
            )


def _as_classes(values: list[Any], rows: Rows, column: str) -> list[int]:
    """Return whole numbers; a float such as 1.0 counts as one."""
    for row, value in enumerate(values):
        if not isinstance(value, (int, float)) or not np.isfinite(value) or int(value) != value:
            raise DataError(
                f"{_where(rows, column, row)}: label {value!r} is not a class; give class numbers or names, list the "
                "classes in task.labels if it is a name, or set task.regression: true"
            )
    return [int(value) for value in values]


def _as_numbers(values: list[Any], rows: Rows, column: str) -> np.ndarray:
    """Return values as float32; what is beyond its range is as little of a number to train on as nan."""
    for row, value in enumerate(values):
        if not isinstance(value, (int, float)) or not abs(value) <= LARGEST_VALUE:
            is_number = isinstance(value, (int, float)) and abs(value) < np.inf
            wrong = "is beyond the range of float32" if is_number else "is not a number"
            raise DataError(f"{_where(rows, column, row)}: label {value!r} {wrong}, as task.regression needs")
    return np.array(values, dtype=np.float32)


def _are_numbers(names: Sequence[str]) -> bool:
    return all(name.removeprefix("label_") == str(number) for number, name in enumerate(names))


def _where(rows: Rows, column: str, row: int) -> str:
    return f"task.label: split {rows.split!r}, row {row + 1}, column {column!r}"


def _shown(values: Any, limit: int = 10) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:limit]) + (f" and {len(texts) - limit} more" if len(texts) > limit else "")
