"""Which rows of a data set are trained on, selected on and reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.sources import load_splits
from pipeline.errors import DataError
from pipeline.tasks.labels import holds_decimals

if TYPE_CHECKING:
    from datasets import Dataset

    from pipeline.recipe.sources import TaskSource


@dataclass(frozen=True)
class Rows:
    """The rows of one split, in the data's order; ``kept`` are the indices used, all of them if None."""

    split: str
    data: Dataset
    kept: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.data) if self.kept is None else len(self.kept)

    def column(self, name: str) -> Any:
        """Return one column of every row of the split as an Arrow array, the rows not kept included."""
        table = self.data.select_columns([name]).with_format("arrow")[:]
        return table.column(0).combine_chunks()

    def take(self, values: np.ndarray) -> np.ndarray:
        """Return what belongs to the rows kept of ``values``, one per row of the split."""
        return values if self.kept is None else values[self.kept]


@dataclass(frozen=True)
class ChosenRows:
    """The rows of a task; ``whole_train`` is the training split before ``train_rows`` and ``select`` took from it."""

    whole_train: Rows
    train: Rows
    select: Rows | None
    validation: Mapping[str, Rows]


def choose_rows(source: TaskSource, columns: Mapping[str, tuple[str, ...]], seed: int) -> ChosenRows:
    """Return the rows the recipe names; raises ``DataError`` for a split or column that is missing or empty.

    ``columns`` are those that must be there, by the field of the task that names them, such as ``label``; only labels
    may be numbers in a file without types, where ``task.labels`` does not call the classes by decimals.
    A share to select on is drawn by ``seed`` from train, after ``train_rows`` cut it, and rounded to a whole row.
    """
    as_text = {column for field, found in columns.items() if field != "label" for column in found}
    as_text |= {source.label} if holds_decimals(source) else set()
    needed = tuple(dict.fromkeys(column for found in columns.values() for column in found))
    splits = load_splits(source.dataset, as_text, needed)

    def rows(field: str, split: str, limit: int | None) -> Rows:
        if split not in splits:
            raise DataError(f"task.{field}: no split {split!r}; the data set has {', '.join(splits)}")
        data = splits[split]
        if len(data) == 0:
            raise DataError(f"task.{field}: split {split!r} is empty; it must hold at least one row")
        for names, column in ((names, column) for names, found in columns.items() for column in found):
            if column not in data.column_names:
                there = ", ".join(data.column_names)
                raise DataError(f"task.{names}: no column {column!r} in split {split!r}; it has {there}")
        return Rows(split, data if limit is None else data.select(range(min(limit, len(data)))))

    whole_train = rows("train", source.train, None)
    train = rows("train", source.train, source.train_rows)
    validation = {split: rows("validation", split, source.validation_rows) for split in source.validation}
    select = None
    if isinstance(source.select, str):
        select = rows("select", source.select, source.validation_rows)
    elif source.select is not None:
        train, select = _divide(train, source.select, seed)
    return ChosenRows(whole_train, train, select, validation)


def _divide(rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    if len(rows) < 2:
        raise DataError(f"task.select: cannot take a share of {len(rows)} row of {rows.split!r}; name a split instead")
    num_taken = min(max(1, round(share * len(rows))), len(rows) - 1)
    order = np.random.default_rng(seed).permutation(len(rows))
    taken, left = np.sort(order[:num_taken]), np.sort(order[num_taken:])
    return Rows(rows.split, rows.data, left), Rows("select", rows.data, taken)
