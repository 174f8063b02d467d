"""A kill at any step of any stage, then the same command: the final weights are the same bits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.api import run
from pipeline.artifacts import Run
from pipeline.training import half_done
from pipeline.training.half_done import HalfDone

STAGES = ("finetune", "prune_heads", "recover_heads", "prune_ffn", "recover_ffn")
SAVE_AT_EVERY_STEP = {"save_seconds": 0, "save_share": 1e9}


class KilledError(BaseException):
    """Stands for the end of the process: nothing of the project catches it."""


def digests(finished: Run) -> dict[str, str]:
    return {
        name: hashlib.sha256((finished[name].model_dir / "model.safetensors").read_bytes()).hexdigest()
        for name in finished.stages
    }


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


@pytest.fixture(scope="module")
def uninterrupted(tiny_text: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return digests(run(tiny_text, runs_dir=tmp_path_factory.mktemp("runs")))


def test_a_run_killed_after_every_third_save_ends_in_the_same_bits(
    text_recipe: dict[str, Any], uninterrupted: dict[str, str], tmp_path: Path, kill_after: Callable[[int], None]
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
    assert digests(finished) == uninterrupted


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


@pytest.mark.parametrize("stage", ["prune_heads", "prune_ffn"])
@pytest.mark.parametrize("part", ["weights", "optimizer", "pruner", "random", "position"])
def test_no_part_of_the_saved_state_can_be_left_out(
    tiny_text: dict[str, Any],
    text_recipe: dict[str, Any],
    tmp_path: Path,
    kill_after: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    part: str,
) -> None:
    text_recipe["training"] |= SAVE_AT_EVERY_STEP
    text_recipe["stages"] = [s for s in text_recipe["stages"] if s["uses"] in ("finetune", stage)]
    expected = digests(run({**text_recipe, "name": "whole"}, runs_dir=tmp_path))[stage]
    run(text_recipe, runs_dir=tmp_path, until="finetune")
    kill_after(7)
    with pytest.raises(KilledError):
        run(text_recipe, runs_dir=tmp_path)
    monkeypatch.setattr(half_done, "RESTORED", tuple(name for name in half_done.RESTORED if name != part))
    assert digests(run(text_recipe, runs_dir=tmp_path))[stage] != expected
