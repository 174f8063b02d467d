"""Where a training step's time goes: forward, backward, teacher, optimizer, pruner, data; measured from outside."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from pipeline.training.embedding_rows import EmbeddingRows
from pipeline.training.stepper import Stepper
from stages.distill.objective import Distillation
from stages.prune_heads.movement import MovementPruner
from stages.unit_pruner import UnitPruner

SECTIONS = ("data", "forward", "teacher", "backward", "optimizer", "pruner")
PARTS: tuple[tuple[Any, str, str], ...] = (
    (Stepper, "batch", "data"),
    (Distillation, "_teach", "teacher"),
    (torch.autograd, "backward", "backward"),
    (nn.utils, "clip_grad_norm_", "optimizer"),
    *((EmbeddingRows, name, "optimizer") for name in ("take_gradient", "step", "_before_forward")),
    (Stepper, "_cut", "pruner"),
    *(
        (kind, f"{when}_optimizer_step", "pruner")
        for kind in (MovementPruner, UnitPruner)
        for when in ("before", "after")
    ),
)
"""Whose call counts as which section."""


class SectionClock:
    """Adds up the seconds of every section, and of whole steps, from step ``warmup`` on."""

    def __init__(self, warmup: int = 0) -> None:
        self.warmup = warmup
        self.num_steps = 0
        self.step_seconds = 0.0
        self.seconds = dict.fromkeys(SECTIONS, 0.0)
        self._open: list[tuple[str, float]] = []
        self._inside = [0.0]

    def begin(self, section: str) -> None:
        """Start a section; the time of one inside another counts as the inner one's alone."""
        self._open.append((section, _now()))
        self._inside.append(0.0)

    def end(self, section: str) -> None:
        """Add the time since ``begin``, unless this step is of the warm-up."""
        begun, began = self._open.pop()
        assert begun == section, (begun, section)
        spent, inside = _now() - began, self._inside.pop()
        self._inside[-1] += spent
        if self.num_steps >= self.warmup:
            self.seconds[section] += spent - inside

    def end_step(self, seconds: float) -> None:
        """Count a step that took ``seconds``."""
        if self.num_steps >= self.warmup:
            self.step_seconds += seconds
        self.num_steps += 1

    def shares(self) -> dict[str, float]:
        """Return the share of the steps' time that each section took; what is in none is the rest: logs and sums."""
        shares = {name: seconds / self.step_seconds for name, seconds in self.seconds.items()}
        return {**shares, "rest": 1.0 - sum(shares.values())}


@contextmanager
def section_clock(warmup: int = 0) -> Iterator[SectionClock]:
    """Time the sections of every step that the pipeline's loop makes inside the block."""
    clock = SectionClock(warmup)
    handles: list[Any] = [
        register_optimizer_step_pre_hook(lambda *_: clock.begin("optimizer")),
        register_optimizer_step_post_hook(lambda *_: clock.end("optimizer")),
    ]
    with ExitStack() as stack:
        for owner, name, section in PARTS:
            stack.enter_context(patch.object(owner, name, _timed(clock, getattr(owner, name), section)))
        stack.enter_context(patch.object(Stepper, "step", _timed_step(clock, Stepper.step, handles)))
        try:
            yield clock
        finally:
            for handle in handles:
                handle.remove()


def _timed(clock: SectionClock, function: Callable[..., Any], section: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        clock.begin(section)
        try:
            return function(*arguments, **named)
        finally:
            clock.end(section)

    return timed


def _timed_step(clock: SectionClock, step: Callable[..., None], handles: list[Any]) -> Callable[..., None]:
    """Return the loop's step, timed as a whole; the first one hooks the student's own forward pass."""
    hooked: set[int] = set()

    def timed(stepper: Stepper, *arguments: Any) -> None:
        if id(stepper) not in hooked:
            hooked.add(id(stepper))
            handles.extend(_hook_forward(clock, stepper.job.model))
        began = _now()
        step(stepper, *arguments)
        clock.end_step(_now() - began)

    return timed


def _hook_forward(clock: SectionClock, model: nn.Module) -> list[Any]:
    def begin(module: nn.Module, _: Any) -> None:
        if module.training:
            clock.begin("forward")

    def end(module: nn.Module, _: Any, outputs: Any) -> None:
        if module.training:
            clock.end("forward")

    return [model.register_forward_pre_hook(begin), model.register_forward_hook(end)]


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
