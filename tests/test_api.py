import copy

import pytest

import pipeline
from pipeline import api
from pipeline.errors import ArtifactError, RecipeError
from pipeline.reporting.measurement import find_target

RECIPE = {
    "name": "small",
    "model": {
        "config": {
            "model_type": "bert",
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
        }
    },
    "task": {"type": "text-classification", "dataset": {"builtin": "grammar", "rows": 40}, "text": "text"},
    "training": {"mixed_precision": "no", "progress": False, "batch_size": 8, "steps": 2},
    "stages": [{"uses": "finetune"}, {"uses": "prune_ffn", "sparsity": 0.5, "rounds": 1, "distill": None}],
}


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def done(runs_dir):
    return api.run(RECIPE, runs_dir=runs_dir)


def test_every_public_name_is_there_and_an_unknown_one_is_not():
    for name in pipeline.__all__:
        assert getattr(pipeline, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = pipeline.nothing


def test_a_recipe_is_taken_as_a_file_a_name_a_mapping_or_itself(tmp_path):
    recipe = api.read(RECIPE)
    (tmp_path / "recipe.yaml").write_text(recipe.dump())
    assert api.read(tmp_path / "recipe.yaml") == recipe
    assert api.read(str(tmp_path / "recipe.yaml")) == recipe
    assert api.read(recipe) is recipe
    changed = api.read(recipe, overrides=["stages.finetune.epochs=2"])
    assert (changed.stages[0].config.epochs, changed.stages[0].config.steps) == (2, None)
    assert api.read("quickstart").name == "quickstart"
    with pytest.raises(RecipeError, match="must be a file, a shipped recipe's name or a mapping, got int"):
        api.read(3)


def test_a_run_is_found_fresh_until_a_field_changes(done, runs_dir):
    assert done.stages == ("finetune", "prune_ffn")
    assert api.plan(RECIPE, runs_dir=runs_dir).is_fresh
    changed = api.plan(RECIPE, runs_dir=runs_dir, overrides=["stages.prune_ffn.sparsity=0.25"])
    assert [(stage.name, stage.state) for stage in changed.stages] == [("finetune", "fresh"), ("prune_ffn", "stale")]
    assert changed.stages[1].reasons == ("stages.prune_ffn.sparsity: 0.5 → 0.25",)


def test_a_stage_of_ones_own_runs_beside_those_that_come_with_the_package(runs_dir):
    from stages import STAGES
    from stages.finetune.stage import Finetune

    class Longer(Finetune):
        version = 7

    recipe = copy.deepcopy(RECIPE) | {"name": "own", "stages": [{"uses": "longer", "steps": 1}]}
    finished = api.run(recipe, runs_dir=runs_dir, stages={**STAGES, "longer": Longer})
    assert finished["longer"].manifest.version == 7


def test_status_lists_runs_and_finds_one_by_name_or_folder(done, runs_dir):
    for found in (api.status("small", runs_dir=runs_dir), api.status(done.path)):
        (status,) = found
        assert [(stage.name, stage.state) for stage in status.stages] == [("finetune", "fresh"), ("prune_ffn", "fresh")]
    assert "small" in [status.name for status in api.status(runs_dir=runs_dir)]
    with pytest.raises(RecipeError, match=r"^other: no such run; there are in .*: .*small"):
        api.status("other", runs_dir=runs_dir)


def test_a_stage_is_found_however_it_is_named(done, runs_dir):
    last = done["prune_ffn"]
    for target in (done, done.path, "small", "small/prune_ffn", done.path / "prune_ffn", last, last.path):
        assert find_target(target, runs_dir).artifact == last
    assert find_target("small/finetune", runs_dir).artifact == done["finetune"]


def test_a_report_is_written_anew_for_a_run_found_by_name_or_folder(done, runs_dir):
    names = ["report.html", "report.md", "report.json"]
    for name in names:
        (done.path / name).unlink()
    for run in ("small", done.path, done):
        assert api.report(run, runs_dir=runs_dir) == [done.path / name for name in names]
    assert all((done.path / name).is_file() for name in names)
    with pytest.raises(RecipeError, match=r"^other: no such run in .*; `pruneline status` lists those there are$"):
        api.report("other", runs_dir=runs_dir)


def test_evaluate_agrees_with_the_manifest(done, runs_dir):
    exact = ("validation/accuracy", "parameters", "encoder_parameters", "encoder_sparsity", "macs", "size_bytes")
    for name in ("finetune", "prune_ffn"):
        measured = api.evaluate(f"small/{name}", runs_dir=runs_dir)
        assert measured.label == f"small/{name}"
        assert {key: measured.metrics[key] for key in exact} == {key: done[name].metrics[key] for key in exact}
        assert (measured.metrics["speedup_b1"] == 1.0) == (name == "finetune")


def test_evaluate_measures_a_plain_model_folder_on_a_recipes_task(done, runs_dir):
    folder = done["prune_ffn"].model_dir
    measured = api.evaluate(folder, RECIPE, runs_dir=runs_dir)
    assert measured.metrics["validation/accuracy"] == done["prune_ffn"].metrics["validation/accuracy"]
    assert measured.metrics["latency_b1_ms"] > 0
    assert "speedup_b1" not in measured.metrics


def test_evaluate_says_what_it_cannot_find(done, runs_dir, tmp_path):
    with pytest.raises(RecipeError, match="no run, stage or model is there; give RUN, RUN/STAGE, a model folder"):
        api.evaluate(tmp_path, RECIPE)
    with pytest.raises(ArtifactError, match=r"no stage 'nothing' is committed; there are: finetune, prune_ffn"):
        api.evaluate("small/nothing", runs_dir=runs_dir)
    with pytest.raises(RecipeError, match="--recipe: must be given for a model that is in no run"):
        api.evaluate(done["prune_ffn"].model_dir, runs_dir=runs_dir)
