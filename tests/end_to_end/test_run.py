"""All five stages, again with everything skipped, from a stage, until a stage, and with one field changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from pipeline.api import plan, register_models, run
from pipeline.artifacts import Run
from pipeline.errors import RecipeError
from pipeline.surgery.groups import dissect

STAGES = ("finetune", "prune_heads", "recover_heads", "prune_ffn", "recover_ffn")


@pytest.fixture(scope="module")
def done(tiny_text: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tiny_text, runs_dir=tmp_path_factory.mktemp("runs"))


def states(recipe: dict[str, Any], runs_dir: Path, **choices: Any) -> dict[str, str]:
    return {stage.name: stage.state for stage in plan(recipe, runs_dir=runs_dir, **choices).stages}


def test_every_stage_commits_an_artifact_that_verifies(done: Run) -> None:
    assert tuple(done.stages) == STAGES
    for name in STAGES:
        done[name].verify()
    assert json.loads((done.path / "report.json").read_text())
    assert (done.path / "report.md").read_text()
    assert "Heads after prune_heads" in (done.path / "report.html").read_text()


def test_the_cuts_are_exact_and_real(done: Run) -> None:
    heads, channels = done["prune_heads"].keep_plan, done["prune_ffn"].keep_plan
    assert heads is not None
    assert channels is not None
    assert sum(len(kept.units) for name, kept in heads.items() if name.endswith("heads")) == 4
    assert sum(len(kept.units) for name, kept in channels.items() if name.endswith("channels")) == 32
    model = done["recover_ffn"].load_model()
    assert sum(group.num_units for group in dissect(model) if group.kind == "heads") == 4
    assert sum(group.num_units for group in dissect(model) if group.kind == "channels") == 32


def test_sparsity_and_parameters_are_those_of_the_loaded_model(done: Run) -> None:
    dense, small = done["finetune"], done["recover_ffn"]
    model = small.load_model()
    assert small.metrics["parameters"] == sum(p.numel() for p in model.parameters())
    inside = [sum(p.numel() for p in a.load_model().bert.encoder.layer.parameters()) for a in (dense, small)]
    assert small.metrics["encoder_sparsity"] == pytest.approx(1 - inside[1] / inside[0])
    assert small.metrics["macs"] < dense.metrics["macs"]


def test_the_metric_just_before_and_after_each_cut_is_recorded(done: Run) -> None:
    for name in ("prune_heads", "prune_ffn"):
        metrics = done[name].metrics
        assert 0 <= metrics["before_cut/validation/accuracy"] <= 1
        assert metrics.keys().isdisjoint({"after_cut/validation/accuracy"})


def test_the_total_plan_leads_from_the_first_model_to_the_last(done: Run) -> None:
    total = done["recover_ffn"].total_keep_plan
    assert total is not None
    widths = {group.name: group.num_units for group in dissect(done["recover_ffn"].load_model())}
    assert {name: len(kept.units) for name, kept in total.items()} == {name: widths[name] for name in total}


def test_the_result_loads_with_auto_model(done: Run) -> None:
    register_models()
    model = AutoModelForSequenceClassification.from_pretrained(done["recover_ffn"].model_dir)
    ours = done["recover_ffn"].load_model()
    ids = torch.tensor([[1, 5, 6, 2]])
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(input_ids=ids).logits, ours(input_ids=ids).logits)


def test_again_skips_everything(done: Run, text_recipe: dict[str, Any]) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.path.rglob("*.safetensors")}
    assert set(states(text_recipe, done.path.parent).values()) == {"fresh"}
    run(text_recipe, runs_dir=done.path.parent)
    assert {path: path.stat().st_mtime_ns for path in done.path.rglob("*.safetensors")} == before


@pytest.mark.parametrize(
    ("override", "first_stale"),
    [
        ("seed=4", "finetune"),
        ("training.learning_rate=1e-3", "finetune"),
        ("task.max_length=30", "finetune"),
        ("task.train_rows=32", "finetune"),
        ("model.config.hidden_dropout_prob=0.2", "finetune"),
        ("stages.finetune.epochs=3", "finetune"),
        ("stages.prune_heads.sparsity=0.25", "prune_heads"),
        ("stages.prune_heads.granularity=head", "prune_heads"),
        ("stages.recover_heads.temperature=3.0", "recover_heads"),
        ("stages.prune_ffn.rounds=2", "prune_ffn"),
        ("stages.prune_ffn.form=nni", "prune_ffn"),
        ("stages.recover_ffn.hidden_weight=0.5", "recover_ffn"),
        ("stages.recover_ffn.batch_size=4", "recover_ffn"),
    ],
)
def test_a_changed_field_reruns_its_stage_and_what_depends_on_it(
    done: Run, text_recipe: dict[str, Any], override: str, first_stale: str
) -> None:
    planned = states(text_recipe, done.path.parent, overrides=[override])
    index = STAGES.index(first_stale)
    assert {planned[name] for name in STAGES[:index]} <= {"fresh"}
    assert planned[first_stale] == "stale"
    assert "fresh" not in {planned[name] for name in STAGES[index:]}


@pytest.mark.parametrize(
    "override",
    ["training.log_every=2", "training.save_seconds=7", "training.progress=true", "training.evaluate_every=2"],
)
def test_a_display_setting_reruns_nothing(done: Run, text_recipe: dict[str, Any], override: str) -> None:
    assert set(states(text_recipe, done.path.parent, overrides=[override]).values()) == {"fresh"}


def test_from_redoes_a_stage_on_the_artifacts_before_it(done: Run, text_recipe: dict[str, Any], tmp_path: Path) -> None:
    import shutil

    copied = tmp_path / "runs"
    shutil.copytree(done.path.parent, copied)
    inodes = {name: Run.open(copied / "tiny")[name].path.stat().st_ino for name in STAGES}
    again = run(text_recipe, runs_dir=copied, from_stage="prune_ffn")
    redone = {name: again[name].path.stat().st_ino != inodes[name] for name in STAGES}
    assert redone == {name: name in ("prune_ffn", "recover_ffn") for name in STAGES}
    weights = [(r["recover_ffn"].model_dir / "model.safetensors").read_bytes() for r in (done, again)]
    assert weights[0] == weights[1]


def test_until_stops_after_a_stage_and_a_later_run_goes_on(text_recipe: dict[str, Any], tmp_path: Path) -> None:
    first = run(text_recipe, runs_dir=tmp_path, until="prune_heads")
    assert tuple(first.stages) == STAGES[:2]
    assert states(text_recipe, tmp_path)["finetune"] == "fresh"


def test_from_needs_the_artifacts_before_it(text_recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="prune_ffn"):
        run(text_recipe, runs_dir=tmp_path, from_stage="prune_ffn")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_images_go_the_same_way(image_recipe: dict[str, Any], tmp_path: Path) -> None:
    image_recipe["stages"][3]["sparsity"] = "match_heads"
    finished = run(image_recipe, runs_dir=tmp_path)
    register_models()
    folder = finished["recover_ffn"].model_dir
    model = AutoModelForImageClassification.from_pretrained(folder)
    assert type(model).__name__ == "CondensedViTForImageClassification"
    assert finished["recover_ffn"].metrics["encoder_sparsity"] > 0.4


def test_a_layer_without_heads_and_one_without_channels_trains_saves_and_loads(
    text_recipe: dict[str, Any], tmp_path: Path
) -> None:
    text_recipe["stages"][1] |= {"sparsity": 0.875, "granularity": "head"}
    text_recipe["stages"][3]["sparsity"] = [1.0, 0.5]
    finished = run(text_recipe, runs_dir=tmp_path)
    widths = {group.name: group.num_units for group in dissect(finished["recover_ffn"].load_model())}
    assert 0 in (widths["encoder.0.heads"], widths["encoder.1.heads"])
    assert widths["encoder.0.channels"] == 0
