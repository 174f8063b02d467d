"""A kill at any step of any stage, then the same command: the final weights are the same bits."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.api import run
from pipeline.artifacts import Run
from pipeline.errors import ArtifactError
from pipeline.interruption import Interrupted
from pipeline.runner import stage_run
from pipeline.training import half_done
from pipeline.training.evaluations import Evaluations
from pipeline.training.half_done import HalfDone
from pipeline.training.stepper import Stepper
from stages import pruning

STEPS = 10
SAVE_AT_EVERY_STEP = {"save_seconds": 0, "save_share": 1e9}


class KilledError(BaseException):
    """Stands for the end of the process: nothing of the project catches it."""


def digests(finished: Run) -> dict[str, str]:
    return {
        name: hashlib.sha256((finished[name].model_dir / "model.safetensors").read_bytes()).hexdigest()
        for name in finished.stages
    }


def logs(finished: Run) -> dict[str, str]:
    return {name: (finished[name].path / "metrics.jsonl").read_text() for name in finished.stages}


@pytest.fixture
def kill_after(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Return a function that arranges for the process to end right after so many more saves."""
    whole = HalfDone.save

    def arrange(saves: int) -> None:
        left = saves

        def save(self: HalfDone) -> None:
            nonlocal left
            whole(self)
            left -= 1
            if left == 0:
                monkeypatch.setattr(HalfDone, "save", whole)
                raise KilledError

        monkeypatch.setattr(HalfDone, "save", save)

    yield arrange
    monkeypatch.setattr(HalfDone, "save", whole)


@pytest.fixture
def steps_of(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """The steps that each stage begins, in order."""
    begun: dict[str, list[int]] = defaultdict(list)
    whole = Stepper._backward

    def backward(self: Stepper, wrapped: Any, position: Any, window: Any) -> None:
        begun[self.job.title].append(position.step)
        whole(self, wrapped, position, window)

    monkeypatch.setattr(Stepper, "_backward", backward)
    return begun


@pytest.fixture(scope="module")
def uninterrupted(tiny_text: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tiny_text, runs_dir=tmp_path_factory.mktemp("runs"))


def test_a_run_killed_after_every_third_save_ends_in_the_same_bits(
    text_recipe: dict[str, Any], uninterrupted: Run, tmp_path: Path, kill_after: Callable[[int], None]
) -> None:
    text_recipe["training"] |= SAVE_AT_EVERY_STEP
    kills = 0
    while True:
        kill_after(3)
        try:
            finished = run(text_recipe, runs_dir=tmp_path)
            break
        except KilledError:
            kills += 1
    assert kills >= 15
    assert digests(finished) == digests(uninterrupted)


def test_a_run_killed_between_two_saves_of_every_stage_ends_in_the_same_bits_and_lines(
    text_recipe: dict[str, Any],
    uninterrupted: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps_of: dict[str, list[int]],
) -> None:
    """In a step, gradients in place and the weights not yet moved; or in an evaluation, its line written."""
    monkeypatch.setattr(HalfDone, "is_due", lambda self: self.position.step % 3 == 0)
    monkeypatch.setattr(HalfDone, "is_cheap", lambda self: False)
    backward, evaluate = Stepper._backward, Evaluations.evaluate
    in_step = {"finetune": 8, "recover_heads": 4, "prune_ffn": 8}
    in_evaluation = {"prune_heads", "recover_ffn"}

    def dying_backward(self: Stepper, wrapped: Any, position: Any, window: Any) -> None:
        backward(self, wrapped, position, window)
        if in_step.get(self.job.title) == position.step:
            del in_step[self.job.title]
            raise KilledError

    def dying_evaluate(self: Evaluations, device: torch.device) -> Any:
        score = evaluate(self, device)
        if self.job.title in in_evaluation:
            in_evaluation.remove(self.job.title)
            raise KilledError
        return score

    monkeypatch.setattr(Stepper, "_backward", dying_backward)
    monkeypatch.setattr(Evaluations, "evaluate", dying_evaluate)
    while in_step or in_evaluation:
        with pytest.raises(KilledError):
            run(text_recipe, runs_dir=tmp_path)
    finished = run(text_recipe, runs_dir=tmp_path)
    assert steps_of == {
        "finetune": [*range(9), *range(6, STEPS)],
        "prune_heads": [*range(5), *range(3, STEPS)],
        "recover_heads": [*range(5), *range(3, STEPS)],
        "prune_ffn": [*range(9), *range(6, STEPS)],
        "recover_ffn": [*range(5), *range(3, STEPS)],
    }
    assert digests(finished) == digests(uninterrupted)
    assert logs(finished) == logs(uninterrupted)


def test_heads_that_left_while_training_stay_out_after_a_kill(
    text_recipe: dict[str, Any], tmp_path: Path, kill_after: Callable[[int], None]
) -> None:
    text_recipe["stages"] = [{"uses": "prune_heads", "criterion": "taylor", "sparsity": 0.625, "rounds": 3}]
    expected = digests(run(text_recipe, runs_dir=tmp_path / "whole"))
    text_recipe["training"] |= SAVE_AT_EVERY_STEP
    kills = 0
    while True:
        kill_after(2)
        try:
            finished = run(text_recipe, runs_dir=tmp_path / "killed")
            break
        except KilledError:
            kills += 1
    assert kills >= 5
    assert digests(finished) == expected


def test_a_signal_after_the_last_step_makes_no_step_be_done_again(
    text_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_of: dict[str, list[int]]
) -> None:
    text_recipe["stages"] = [s for s in text_recipe["stages"] if s["uses"] in ("finetune", "prune_ffn")]
    expected = digests(run(text_recipe, runs_dir=tmp_path / "whole"))
    steps_of.clear()
    monkeypatch.setattr(HalfDone, "is_cheap", lambda self: False)

    def signals(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(stage_run, "reach", lambda point: signals() if point == "stage.saved" else None)
        with pytest.raises(Interrupted):
            run(text_recipe, runs_dir=tmp_path / "stopped")
    with monkeypatch.context() as patch:
        evaluate = pruning.evaluate
        patch.setattr(pruning, "evaluate", lambda *given, **named: signals() or evaluate(*given, **named))
        with pytest.raises(Interrupted):
            run(text_recipe, runs_dir=tmp_path / "stopped")
    assert digests(run(text_recipe, runs_dir=tmp_path / "stopped")) == expected
    assert steps_of == {"finetune": [*range(STEPS)], "prune_ffn": [*range(STEPS)]}


def test_a_best_epoch_survives_a_kill(
    text_recipe: dict[str, Any], tmp_path: Path, kill_after: Callable[[int], None]
) -> None:
    text_recipe["task"]["select"] = 0.25
    text_recipe["stages"] = [{"uses": "finetune", "epochs": 4}]
    expected = digests(run(text_recipe, runs_dir=tmp_path / "whole"))
    text_recipe["training"] |= SAVE_AT_EVERY_STEP
    kill_after(11)
    with pytest.raises(KilledError):
        run(text_recipe, runs_dir=tmp_path / "killed")
    assert digests(run(text_recipe, runs_dir=tmp_path / "killed")) == expected


PARTS = ("weights", "optimizer", "random", "position")


@pytest.fixture(scope="module")
def short_run(tiny_text: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """A function that gives a finished run of finetune and one stage more, saved at every step."""
    finished: dict[str, Run] = {}

    def of(stage: str) -> Run:
        if stage not in finished:
            stages = [s for s in tiny_text["stages"] if stage == s.get("name", s["uses"]) or s["uses"] == "finetune"]
            training = {**tiny_text["training"], **SAVE_AT_EVERY_STEP}
            recipe = {**tiny_text, "stages": stages, "training": training}
            finished[stage] = run(recipe, runs_dir=tmp_path_factory.mktemp(stage))
        return finished[stage]

    return of


@pytest.mark.parametrize(
    ("stage", "part"),
    [
        *((stage, part) for stage in ("finetune", "recover_heads") for part in PARTS),
        *((stage, part) for stage in ("prune_heads", "prune_ffn") for part in (*PARTS, "pruner")),
    ],
)
def test_no_part_of_the_saved_state_can_be_left_out(
    short_run: Callable[[str], Run],
    tmp_path: Path,
    kill_after: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    part: str,
) -> None:
    whole = short_run(stage)
    shutil.copytree(whole.path, tmp_path / whole.path.name)
    shutil.rmtree(tmp_path / whole.path.name / whole[stage].path.name)
    recipe = tmp_path / whole.path.name / "recipe.yaml"
    kill_after(7)
    with pytest.raises(KilledError):
        run(recipe, runs_dir=tmp_path, until=stage)
    monkeypatch.setattr(half_done, "RESTORED", tuple(name for name in half_done.RESTORED if name != part))
    if (stage, part) == ("prune_ffn", "pruner"):
        with pytest.raises(ArtifactError, match=r"intermediate\.dense\.bias must be .* of shape \(32,\), got"):
            run(recipe, runs_dir=tmp_path, until=stage)
    else:
        assert digests(run(recipe, runs_dir=tmp_path, until=stage))[stage] != digests(whole)[stage]
