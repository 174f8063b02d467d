"""Answers that are only timed: what reading them costs, and what writing them would, without a pass over the rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.teaching.answers import HIDDEN, PROJECTIONS, Column, Taught
from pipeline.teaching.shelf import TeacherShelf
from pipeline.teaching.writing import BATCH_ROWS, Ask
from pipeline.training.batches import Lengths, by_length

TIMED_BATCHES = 4


@dataclass(frozen=True)
class Rehearsal(TeacherShelf):
    """A shelf for stages that are begun to be timed: nothing is written, and the pass that would be is estimated.

    ``seconds`` are those of each pass, by the place its answers would have.
    """

    seconds: dict[Path, float] = field(default_factory=dict)


class RehearsedAnswers:
    """The answers to the longest rows, handed out as those to any others: it takes as long to read as many."""

    def __init__(self, taught: Taught, columns: Sequence[Column]) -> None:
        self._logits = taught.logits
        self._per_token = [column.per_token for column in columns]
        dtype = columns[-1].dtype
        layers = {HIDDEN: taught.hidden, PROJECTIONS: taught.projections}
        self._layers = {
            name: torch.stack([layer.to(dtype) for layer in some], dim=2) for name, some in layers.items() if some
        }

    def read(self, rows: Sequence[int], mask: Tensor | None, device: torch.device) -> Taught:
        """Return answers in the shapes of those to ``rows``."""
        tokens = slice(None) if mask is None else slice(mask.shape[1])

        def some(answers: Tensor, per_token: bool) -> Tensor:
            index = torch.arange(len(rows), device=answers.device) % len(answers)
            return (answers[:, tokens] if per_token else answers)[index].to(device)

        logits = tuple(map(some, self._logits, self._per_token[: len(self._logits)]))
        return Taught(logits, **{name: some(layers, True).unbind(2) for name, layers in self._layers.items()})


def rehearse(ask: Ask, columns: Sequence[Column], num_rows: int, lengths: Lengths | None) -> RehearsedAnswers:
    """Return answers to read; the teacher is asked for one batch, that of the longest rows."""
    return RehearsedAnswers(ask(by_length(num_rows, lengths, BATCH_ROWS)[0])[0], columns)


def pass_seconds(ask: Ask, num_rows: int, lengths: Lengths | None) -> float:
    """Return the seconds of a pass over ``num_rows`` rows, from a few of its batches, spread over it."""
    batches = by_length(num_rows, lengths, BATCH_ROWS)
    some = np.linspace(0, len(batches) - 1, min(TIMED_BATCHES, len(batches))).round().astype(int)
    sizes = np.ones(num_rows, dtype=np.int64) if lengths is None else lengths
    asked = sum(int(sizes[batches[index]].sum()) for index in some)
    ask(batches[len(batches) // 2])
    began = time.perf_counter()
    for index in some:
        ask(batches[index])
    return (time.perf_counter() - began) / asked * int(sizes.sum())
