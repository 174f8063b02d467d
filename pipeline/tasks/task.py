"""What the machine and the stages know of a task: its splits, the head it needs, and how it is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from pipeline.recipe.sources import ModelSource


class Split(Protocol):
    """Encoded rows of one split, by index."""

    name: str

    @property
    def lengths(self) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Tokens per row, ``(rows,)``; None when all rows are of one size."""

    def __len__(self) -> int: ...

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return the model's inputs for ``rows``, padded to the longest of them, with ``labels``."""


class Task(Protocol):
    """A task over one data set and one processor (tokenizer or image processor)."""

    name: str
    auto_model: str
    """The transformers class to load with, such as ``"AutoModelForSequenceClassification"``."""
    train: Split
    select: Split | None
    """Rows on which the best epoch is chosen; never reported."""
    validation: Mapping[str, Split]

    def config_fields(self) -> dict[str, Any]:
        """Return what the model's config must say, such as ``num_labels`` and ``id2label``."""

    def check_model(self, model: Any) -> None:
        """Raise ``DataError`` when the model cannot take this data: labels, longest input, image size, two rows."""

    def check_teacher(self, model: Any, source: ModelSource) -> None:
        """Raise ``DataError`` when a teacher, loaded from ``source``, cannot take this data or would read other tokens.

        The stages' models and their teacher are fed the same encoded rows.
        """

    def check_classes(self, classes: Mapping[Any, Any], whose: str, *, is_trained_further: bool = False) -> None:
        """Raise ``DataError`` when the head of ``whose`` model tells other classes, or in another order, than the data.

        ``classes`` is its config's ``id2label``. A head that ``is_trained_further`` may tell other classes so far.
        """

    def save_processor(self, folder: Path) -> None:
        """Write the tokenizer's or image processor's files; byte for byte those it was read from, where there are."""

    def logits(self, outputs: Any) -> tuple[Tensor, ...]:
        """Return the logits that distillation compares, each ``(..., classes)``, or ``(rows, targets)`` regressed."""

    def is_regression(self) -> bool:
        """Say whether the logits are regressed values, compared by squared error instead of KL."""

    def token_mask(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        """Return which tokens are real, ``(rows, tokens)`` bool; None when all are (images)."""

    def predictions(self, outputs: Any, batch: Mapping[str, Tensor]) -> tuple[list[Any], list[Any]]:
        """Return predictions and references of one batch, as the metrics take them."""

    def score(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
        """Return every metric of the task over a whole split."""

    def main_metric(self) -> str:
        """Return the name of the metric that is shown first and that ``select`` goes by."""

    def greater_is_better(self) -> bool:
        """Say whether more of the main metric is better, or less, as of an error."""
