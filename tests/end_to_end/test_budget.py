"""One budget for a whole run: split, kept to the channel, told beforehand, and the same bits after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.api import forecast, plan, run
from pipeline.errors import RecipeError
from pipeline.forecast.listing import forecast_lines
from pipeline.runner import execution
from stages import pruning

SAME = ("model/model.safetensors", "keep_plan.json", "scores.safetensors")


@pytest.fixture
def with_budget(text_recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return a function from a budget to a recipe of three short stages that share it."""
    monkeypatch.setattr(execution, "_write_page", lambda run: None)
    training = {**text_recipe["training"], "save_seconds": 0, "save_share": 1e9, "epochs": None, "steps": 4}
    stages = [{"uses": "finetune"}, {"uses": "prune_heads"}, {"uses": "prune_ffn", "distill": None}]
    return lambda **budget: {**text_recipe, "budget": budget, "training": training, "stages": stages}


def kill_pruning(patch: pytest.MonkeyPatch) -> None:
    """Let the process end, as it were, after the third step of a pruning stage."""
    train = pruning.train

    def dies(model: Any, *, pruner: Any, **fields: Any) -> Any:
        after = pruner.after_optimizer_step

        def step(number: int, lr: float) -> None:
            after(number, lr)
            if number == 2:
                raise KeyboardInterrupt

        pruner.after_optimizer_step = step
        return train(model, pruner=pruner, **fields)

    patch.setattr(pruning, "train", dies)


def states(recipe: dict[str, Any], runs_dir: Path) -> list[str]:
    return [str(stage) for stage in plan(recipe, runs_dir=runs_dir).stages]


def test_a_run_keeps_its_budget_to_the_channel_and_to_the_same_bits_after_a_kill(
    with_budget: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, whole, killed = with_budget(macs=0.35, rows=16), tmp_path / "whole", tmp_path / "killed"
    told = forecast(plan(recipe, runs_dir=whole))[-1].costs
    run(recipe, runs_dir=whole, until="finetune")
    shutil.copytree(whole, killed)
    done = run(recipe, runs_dir=whole)
    split = done["prune_heads"].manifest.details["budget_units"]
    assert done["prune_ffn"].manifest.details["budget_units"] == {"channels": split["channels"]}
    assert told is not None
    assert told.macs is not None
    metrics = done["prune_ffn"].metrics
    per_channel = (metrics["macs"] - done["prune_heads"].metrics["macs"]) / (split["channels"] - 2 * 32)
    assert 0 <= told.macs - metrics["macs"] < per_channel
    with monkeypatch.context() as patch:
        kill_pruning(patch)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, runs_dir=killed)
    assert states(recipe, killed)[1] == "prune_heads: half-done"
    resumed = run(recipe, runs_dir=killed, until="prune_heads")["prune_heads"]
    assert {name: resumed.manifest.files[name] for name in SAME} == {
        name: done["prune_heads"].manifest.files[name] for name in SAME
    }
    assert states(with_budget(macs=0.4, rows=16), whole) == [
        "finetune: fresh",
        "prune_heads: stale (budget.macs: 0.35 → 0.4)",
        "prune_ffn: stale (depends on prune_heads; budget.macs: 0.35 → 0.4)",
    ]


def test_a_budget_that_cannot_be_kept_is_refused_before_anything_is_trained(
    with_budget: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"budget\.encoder_sparsity: must be at most 0\.\d+, .* got 0\.99"):
        run(with_budget(encoder_sparsity=0.99), runs_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_times_are_told_though_the_split_is_not_known_yet(
    with_budget: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    rows = forecast(plan(with_budget(encoder_sparsity=0.8, rows=8), runs_dir=tmp_path), with_time=True)
    assert all(row.seconds is not None and row.seconds > 0 for row in rows[1:])
    assert "at least 80.0%" in forecast_lines(rows)[-2]
