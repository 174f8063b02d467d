"""A stage's use of written answers: whether, decided once; found or written before the first step; read at each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from pipeline.artifacts.commit import write_file, writing
from pipeline.artifacts.sealed import read_sealed, seal
from pipeline.teaching.answers import Answers, Taught
from pipeline.teaching.choice import Choice, choose, free_bytes, in_gigabytes
from pipeline.teaching.rehearsal import Rehearsal, RehearsedAnswers, pass_seconds, rehearse
from pipeline.teaching.shelf import TeacherShelf
from pipeline.teaching.writing import answers_bytes, columns_of, write_answers
from pipeline.training import precision
from pipeline.training.job import TrainBatch
from pipeline.training.memory import memory_bytes
from pipeline.training.processes import Processes

if TYPE_CHECKING:
    from pipeline.tasks.task import Task

Setting = bool | Literal["auto"]
Forward = Callable[[Mapping[str, Tensor]], Taught]
"""The teacher's forward pass over a batch, on the batch's device and under whatever autocast is around it."""
HIDDEN_DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Hidden states are kept as exactly as they were computed: their layer's products were in this type."""
NOTE = "teacher.json"

logger = logging.getLogger(__name__)


class TeacherCache:
    """Answers for the batches of one stage's training; ``projections`` names those that the teacher is asked for.

    What was decided is noted in ``work_dir``: read from the disk or computed in the step, answers differ in their
    last bits, so that a resumed stage must go on as it began.
    """

    def __init__(
        self,
        shelf: TeacherShelf,
        task: Task,
        forward: Forward,
        *,
        setting: Setting,
        has_hidden: bool,
        work_dir: Path,
        title: str,
        projections: Sequence[str] = (),
    ) -> None:
        self._shelf = shelf
        self._task = task
        self._forward = forward
        self._setting = setting
        self._has_hidden = has_hidden
        self._projections = list(projections)
        self._note = work_dir / NOTE
        self._title = title
        self._answers: Answers | RehearsedAnswers | None = None
        self._is_prepared = False
        self._last: tuple[Mapping[str, Tensor], Taught] | None = None

    def taught(self, batch: Mapping[str, Tensor]) -> Taught:
        """Return the teacher's answers to ``batch``: those that were written where there are, else computed now.

        Before ``prepare`` a step is only timed. Where its answers will be read, they are computed once, so that the
        teacher's time does not count.
        """
        if self._answers is not None and isinstance(batch, TrainBatch):
            mask = self._task.token_mask(batch)
            return self._answers.read(batch.rows, mask, next(iter(batch.values())).device)
        if self._is_prepared or not self._is_likely:
            return self._forward(batch)
        if self._last is None or self._last[0] is not batch:
            self._last = (batch, self._forward(batch))
        return self._last[1]

    def prepare(self, mixed_precision: str, step: int, processes: Processes) -> None:
        """Find the answers or write them, or decide against it, before step ``step`` of a start or a resume.

        The main process does, the others wait for it.
        """
        self._is_prepared, self._last = True, None
        if isinstance(self._shelf, Rehearsal):
            self._answers = self._rehearse(self._shelf, mixed_precision, processes.device)
            return
        place = processes.on_main(lambda: self._settle(mixed_precision, step, processes.device))
        self._answers = Answers(Path(place)) if place else None

    def _rehearse(self, shelf: Rehearsal, mixed_precision: str, device: torch.device) -> RehearsedAnswers | None:
        if not self._choose(mixed_precision, device).is_cached:
            return None
        ask, place, split = self._asker(mixed_precision, device), self._place(mixed_precision), self._task.train
        if place not in shelf.seconds:
            shelf.seconds[place] = pass_seconds(ask, len(split), split.lengths)
        return rehearse(ask, columns_of(split, ask, HIDDEN_DTYPES[mixed_precision]), len(split), split.lengths)

    def _settle(self, mixed_precision: str, step: int, device: torch.device) -> str:
        """Return the folder of the answers, made if need be; "" where the teacher answers itself."""
        note = read_sealed(self._note)
        noted = note.get("cached", None if step == 0 else False)
        answered_in = note.get("precision", mixed_precision) if noted is not None else self._found_in(mixed_precision)
        place = self._place(answered_in)
        choice = self._choose(answered_in, device) if noted is None else Choice(bool(noted), "as it began")
        took = ""
        if choice.is_cached and not Answers.are_at(place):
            took = self._write(place, answered_in, device)
        if noted is None:
            logger.info("%s: cache_teacher: %s (%s%s)", self._title, str(choice.is_cached).lower(), choice.why, took)
            with writing(self._note):
                self._note.parent.mkdir(parents=True, exist_ok=True)
            told = {"cached": choice.is_cached, "why": choice.why, "precision": answered_in}
            write_file(self._note, seal(told))
        return str(place) if choice.is_cached else ""

    def _place(self, mixed_precision: str) -> Path:
        contents = {"precision": mixed_precision, "hidden": self._has_hidden}
        return self._shelf.place({**contents, **({"projections": self._projections} if self._projections else {})})

    def _found_in(self, mixed_precision: str) -> str:
        """Return the precision of the answers to read: the stage's own, unless only those in another are there.

        What an earlier stage wrote in bf16 teaches a stage in float32 as well, and costs no second pass.
        """
        likely = [mixed_precision, *(name for name in HIDDEN_DTYPES if name != mixed_precision)]
        return next((name for name in likely if Answers.are_at(self._place(name))), mixed_precision)

    def _choose(self, mixed_precision: str, device: torch.device) -> Choice:
        if self._setting is False:
            return Choice(False, "as it was asked for")
        if self._setting is True or Answers.are_at(self._place(mixed_precision)):
            return Choice(True, "as it was asked for" if self._setting is True else "its answers are there")
        ask = self._asker(mixed_precision, device)
        columns = columns_of(self._task.train, ask, HIDDEN_DTYPES[mixed_precision])
        return choose(
            size_bytes=answers_bytes(columns, self._task.train, ask),
            passes=self._shelf.passes,
            has_hidden=self._has_hidden or bool(self._projections),
            on_cpu=device.type == "cpu",
            memory_bytes=memory_bytes(),
            free_bytes=free_bytes(self._shelf.folder),
        )

    @cached_property
    def _is_likely(self) -> bool:
        """Whether answers would be read in the precision that takes the fewest bytes."""
        device = Processes().device
        return self._choose("bf16", device).is_cached

    def _write(self, place: Path, mixed_precision: str, device: torch.device) -> str:
        began = time.perf_counter()
        ask = self._asker(mixed_precision, device)
        columns = columns_of(self._task.train, ask, HIDDEN_DTYPES[mixed_precision])
        size = in_gigabytes(answers_bytes(columns, self._task.train, ask))
        logger.info("%s: writes the teacher's answers to %d rows, %s", self._title, len(self._task.train), size)
        with writing(self._shelf.folder):
            self._shelf.make_room()
        write_answers(place, self._task.train, ask, columns)
        return f", written in {time.perf_counter() - began:.1f} s"

    def _asker(self, mixed_precision: str, device: torch.device) -> Callable[[Sequence[int]], tuple[Taught, Tensor]]:
        def ask(rows: Sequence[int]) -> tuple[Taught, Tensor]:
            batch = {name: tensor.to(device) for name, tensor in self._task.train.batch(rows).items()}
            with precision.autocast(mixed_precision, device):
                taught = self._forward(batch)
            mask = self._task.token_mask(batch)
            if mask is None:
                layers = (*taught.hidden, *taught.projections)
                tokens = layers[0].shape[1] if layers else 1
                mask = torch.ones(len(rows), tokens, dtype=torch.bool, device=device)
            return taught, mask

        return ask
