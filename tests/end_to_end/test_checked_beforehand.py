"""Settings of a later stage that cannot work are refused before an earlier one is trained."""

import copy

import pytest
import torch

from pipeline.api import STAGES, plan, run
from pipeline.errors import RecipeError
from pipeline.stage import CheckedStage
from pipeline.training import tracking
from stages.finetune import Finetune


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_text):
    """A folder of runs, one of which has its first stage."""
    folder = tmp_path_factory.mktemp("runs")
    run({**copy.deepcopy(tiny_text), "name": "begun"}, runs_dir=folder, until="finetune")
    return folder


SPARSIFY = {"uses": "sparsify", "sparsity": 0.5}


@pytest.mark.parametrize("name", ["begun", "new"])
@pytest.mark.parametrize(
    ("stage", "settings", "expected"),
    [
        (2, {"mixed_precision": "fp16"}, "stages.recover_heads.mixed_precision: fp16 needs a CUDA device, got cpu"),
        (2, {"tracking": "wandb"}, "stages.recover_heads.tracking: wandb is not installed"),
        (2, {"freeze": ["nothing_so"]}, r"stages.recover_heads.freeze: must be found in .*, got 'nothing_so'"),
        (4, {"freeze": ["."]}, "stages.recover_ffn.freeze: must leave a parameter that learns"),
        (
            2,
            {"relations_weight": 1.0, "relations_layer": 9},
            "stages.recover_heads.relations_layer: must be last or",
        ),
        (
            3,
            {"distill": {"relations_weight": 1.0, "relations_layer": 9}},
            "stages.prune_ffn.distill.relations_layer: must be last or at most 1",
        ),
        (3, {"sparsity": [0.5]}, "stages.prune_ffn.sparsity: must hold one share for each of 2 layers, got 1"),
        (3, {"prune_end": 5000}, "stages.prune_ffn.prune_end: must be within the stage's 10 steps, got 5000"),
        (1, {"block_size": 3}, "stages.prune_heads.block_size: must divide the head's width"),
        (
            4,
            {**SPARSIFY, "layers": {"include": ["no_such"]}},
            "stages.recover_ffn.layers: must pick at least one",
        ),
        (4, {**SPARSIFY, "schedule": {"end": 5000}}, "stages.recover_ffn.schedule.end: must be within the stage's 10"),
    ],
)
def test_a_later_stages_setting_that_cannot_work_is_refused_before_anything_is_written(
    folder, text_recipe, monkeypatch, name, stage, settings, expected
):
    if torch.cuda.is_available() and "mixed_precision" in settings:
        pytest.skip("this machine has what is asked for")
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    text_recipe["name"] = name
    text_recipe["stages"][stage] |= settings
    before = sorted(folder.rglob("*"))
    with pytest.raises(RecipeError, match=expected) as refused:
        run(text_recipe, runs_dir=folder)
    assert "\n" not in str(refused.value)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"mixed_precision": "fp16"}, r"^training.mixed_precision: fp16 needs a CUDA device, got cpu"),
        ({"freeze": ["nothing_so"]}, r"^training.freeze: must be found in .*, got 'nothing_so'"),
    ],
)
def test_a_setting_that_all_stages_inherit_is_told_from_where_it_was_said(text_recipe, tmp_path, settings, expected):
    if torch.cuda.is_available() and "mixed_precision" in settings:
        pytest.skip("this machine has what is asked for")
    text_recipe["training"] = {**text_recipe.get("training", {}), **settings}
    with pytest.raises(RecipeError, match=expected):
        run(text_recipe, runs_dir=tmp_path)


def test_every_stage_checks_itself(text_recipe):
    text_recipe["stages"].append({**SPARSIFY, "epochs": 1})
    planned = plan(text_recipe)
    assert {stage.uses for stage in planned.recipe.stages} == set(STAGES)
    assert all(isinstance(stage, CheckedStage) for stage in planned.inspector.stages)


class Renaming:
    """A stage of one's own that makes another kind of model, and so says nothing of what can be checked."""

    Config = Finetune.Config
    version = 1
    provides_teacher = False

    def needs_teacher(self, config):
        return False

    def run(self, context):
        raise RuntimeError("it was begun")


def test_what_follows_a_stage_that_cannot_check_itself_is_not_held_against_the_first_model(text_recipe, tmp_path):
    text_recipe["stages"][1:] = [{"uses": "rename"}, {"uses": "finetune", "name": "last", "freeze": ["another_name"]}]
    with pytest.raises(RuntimeError, match="it was begun"):
        run(text_recipe, runs_dir=tmp_path, stages={**STAGES, "rename": Renaming})


def test_checking_changes_no_bit_of_the_model_that_is_trained(text_recipe, tmp_path, monkeypatch):
    text_recipe["stages"] = text_recipe["stages"][:2]
    checked = run(text_recipe, runs_dir=tmp_path / "a")
    monkeypatch.setattr("pipeline.runner.beforehand.check_stages", lambda *arguments: None)
    unchecked = run(text_recipe, runs_dir=tmp_path / "b")
    for name in checked.stages:
        files = [found[name].manifest.files["model/model.safetensors"] for found in (checked, unchecked)]
        assert files[0] == files[1]
