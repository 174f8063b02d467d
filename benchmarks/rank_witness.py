"""What each process of a run saw: a JSON line for its masks after every step, and for its weights after every stage."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import Tensor

from pipeline.training.stepper import Stepper

MASKS = ("alive.", "masked")
"""How the names of masks begin in the state of a pruner."""
Note = Mapping[str, Any]


@contextmanager
def witnessed(path: Path, *, dies_in: str | None = None) -> Iterator[None]:
    """Append to ``path`` what every step inside the block comes to; in the stage ``dies_in``, be killed half-way.

    A line has the ``stage`` and one of: ``began``, the first step that this process made of it; ``masks`` after
    ``step`` steps; ``weights`` after the last; ``died``, the step it did not make.
    """
    begun: set[str] = set()
    whole = Stepper.step

    def note(stepper: Stepper, **values: object) -> None:
        with path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"stage": stepper.job.title, **values}) + "\n")

    def step(stepper: Stepper, wrapped: Any, position: Any, window: Any) -> None:
        if stepper.job.title not in begun:
            begun.add(stepper.job.title)
            note(stepper, began=position.step)
        if stepper.job.title == dies_in and position.step == stepper.total // 2:
            note(stepper, died=position.step, of=stepper.total)
            os.kill(os.getpid(), signal.SIGKILL)
        whole(stepper, wrapped, position, window)
        if stepper.job.pruner is not None:
            state = stepper.job.pruner.state_dict()
            masks = {name: mask for name, mask in state.items() if name.startswith(MASKS)}
            note(stepper, step=position.step, masks=digest(masks))
        if position.step == stepper.total:
            note(stepper, step=position.step, weights=digest(dict(stepper.job.model.named_parameters())))

    with patch.object(Stepper, "step", step):
        yield


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return one digest of all bits of the tensors, under their names."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def read_notes(path: Path) -> list[Note]:
    """Return the lines that were written to their end, none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def seen(notes: Sequence[Note], what: str) -> dict[tuple[str, int], set[str]]:
    """Return the digests of ``masks`` or ``weights`` by stage and step: two of a step that was made twice unlike."""
    found: dict[tuple[str, int], set[str]] = {}
    for note in notes:
        if what in note:
            found.setdefault((note["stage"], note["step"]), set()).add(note[what])
    return found


def agreement(ranks: Sequence[Sequence[Note]], what: str) -> tuple[int, list[tuple[str, int]]]:
    """Return at how many steps all ranks noted the same, and every step at which they did not."""
    found = [seen(notes, what) for notes in ranks]
    steps = {step: None for each in found for step in each}
    differing = [step for step in steps if len(set().union(*(each.get(step, {"none"}) for each in found))) != 1]
    return len(steps) - len(differing), differing
