import os
import signal

import pytest

from pipeline import api, interruption
from pipeline.artifacts.run import Run
from pipeline.errors import RecipeError
from pipeline.interruption import Interrupted
from pipeline.sweeps.notes import read_values
from pipeline.sweeps.summary import sweep_lines


@pytest.fixture
def sweep(machine):
    """Sweep the dummy recipe: train, cut, recover; the measurements it lacks are not needed to run it."""

    def call(vary, recipe=None, **options):
        machine.CALLS.clear()
        return api.sweep(recipe or machine.recipe(), vary, stages=machine.STAGES, **options)

    return call


def ran(machine):
    return [call for call in machine.CALLS if call in ("train", "cut", "recover")]


def test_a_stage_that_all_runs_share_runs_once(machine, sweep):
    done = sweep(["stages.cut.add=1,2,3"])
    assert ran(machine) == ["train", "cut", "recover", "cut", "recover", "cut", "recover"]
    assert [outcome.shared for outcome in done.outcomes] == [(), ("train",), ("train",)]
    assert [outcome.run.stages for outcome in done.outcomes] == [("train", "cut", "recover")] * 3
    assert [path.name for path in sorted(done.folder.iterdir())] == ["add-1", "add-2", "add-3", "sweep.json"]
    assert done.folder.name == "dummy-sweep"


def test_what_is_shared_is_the_same_read_only_file_and_passes_for_the_runs_own(machine, sweep):
    done = sweep({"stages.cut.add": [1, 2]})
    first, second = (outcome.run["train"] for outcome in done.outcomes)
    for name in first.manifest.files:
        assert os.path.samefile(first.path / name, second.path / name)
        assert (second.path / name).stat().st_mode & 0o222 == 0
    second.verify()
    assert api.plan(done.folder / "add-2" / "recipe.yaml", runs_dir=done.folder, stages=machine.STAGES).is_fresh


def test_a_run_that_redoes_what_it_shared_leaves_the_others_as_they_were(machine, sweep):
    done = sweep({"stages.cut.add": [1, 2]})
    before = machine.digests(done.folder / "add-1")
    recipe = done.folder / "add-2" / "recipe.yaml"
    api.run(recipe, runs_dir=done.folder, stages=machine.STAGES, from_stage="train", overrides=["stages.train.add=9"])
    assert machine.digests(done.folder / "add-1") == before
    Run.open(done.folder / "add-1")["train"].verify()


def test_where_no_hard_link_can_be_made_the_files_are_copied(machine, sweep, monkeypatch):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    done = sweep({"stages.cut.add": [1, 2]})
    first, second = (outcome.run["train"] for outcome in done.outcomes)
    assert done.outcomes[1].shared == ("train",)
    assert not os.path.samefile(first.path / "model/model.safetensors", second.path / "model/model.safetensors")
    second.verify()


def test_a_damaged_artifact_is_not_shared(machine, sweep):
    done = sweep({"stages.cut.add": [1]})
    weights = done.outcomes[0].run["train"].path / "model" / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b" ")
    again = sweep({"stages.cut.add": [2]})
    assert again.outcomes[0].shared == ()
    assert ran(machine) == ["train", "cut", "recover"]


def test_the_same_sweep_again_runs_nothing_and_a_wider_one_only_what_is_new(machine, sweep):
    sweep({"stages.cut.add": [1, 2]})
    sweep({"stages.cut.add": [1, 2]})
    assert ran(machine) == []
    wider = sweep({"stages.cut.add": [1, 2, 3]})
    assert ran(machine) == ["cut", "recover"]
    assert list(read_values(wider.folder)) == ["add-1", "add-2", "add-3"]


def test_a_sweep_over_another_stage_leaves_the_runs_of_the_first_as_they_were(machine, sweep):
    sweep(["stages.cut.add=2"])
    before = machine.digests("runs/dummy-sweep/add-2")
    beside = sweep(["stages.recover.add=2,3"])
    assert machine.digests(beside.folder / "add-2") == before
    assert [outcome.shared for outcome in beside.outcomes] == [("train",), ("train", "cut")]
    assert read_values(beside.folder) == {
        "add-2": {"stages.cut.add": "2"},
        "recover.add-2": {"stages.recover.add": "2"},
        "recover.add-3": {"stages.recover.add": "3"},
    }
    for vary in (["stages.recover.add=2,3"], ["stages.cut.add=2"]):
        sweep(vary)
        assert ran(machine) == []


def test_seeds_share_nothing(machine, sweep):
    done = sweep(["seed=1,2"])
    assert ran(machine) == ["train", "cut", "recover"] * 2
    assert [outcome.shared for outcome in done.outcomes] == [(), ()]


def test_an_interrupted_sweep_goes_on_where_it_was_stopped(machine, sweep, monkeypatch):
    class Stopped(machine.Cut):
        def run(self, context):
            result = super().run(context)
            if context.config.add == 2:
                monkeypatch.setattr(interruption, "_requested", signal.SIGINT)
            return result

    with pytest.raises(Interrupted):
        api.sweep(machine.recipe(), ["stages.cut.add=1,2,3"], stages={**machine.STAGES, "cut": Stopped})
    assert ran(machine) == ["train", "cut", "recover", "cut"]
    monkeypatch.setattr(interruption, "_requested", None)
    done = sweep(["stages.cut.add=1,2,3"])
    assert ran(machine) == ["cut", "recover", "cut", "recover"]
    assert "cut resumed" in machine.CALLS
    assert not done.failed


def test_one_run_that_fails_stops_no_other_and_is_shown(machine, sweep):
    done = sweep(["stages.cut.fail=true,false"])
    assert [outcome.error for outcome in done.outcomes] == ["unexpected RuntimeError: asked to fail", None]
    assert ran(machine) == ["train", "cut", "cut", "recover"]
    lines = sweep_lines(done)
    assert lines[1:3] == [
        "  fail-true   failed: unexpected RuntimeError: asked to fail",
        "  fail-false  done, with train of another run",
    ]
    assert lines[-1] == "1 of 2 runs failed; the same command tries them again"


def test_a_wrong_value_is_refused_before_anything_runs(machine, sweep, tmp_path):
    with pytest.raises(RecipeError, match=r"^--vary: stages\.cut\.learning_rate: must be above 0, got -1$"):
        sweep(["stages.cut.learning_rate=1e-3,-1"])
    assert not (tmp_path / "runs").exists()
    with pytest.raises(RecipeError, match=r"^--vary: stages\.cutting\.add: no such stage"):
        sweep(["stages.cutting.add=1"])
    with pytest.raises(RecipeError, match=r"^--set: stages\.cut\.learning_rate: must be above 0, got -2$"):
        sweep(["seed=1"], overrides=["stages.cut.learning_rate=-2"])


def test_a_varied_value_is_the_last_word_on_a_recipe_read_already(machine, sweep):
    recipe = api.read(machine.recipe(), stages=machine.STAGES)
    done = sweep(["stages.cut.steps=3"], recipe=recipe, overrides=["stages.cut.epochs=2"])
    made = done.outcomes[0].run["cut"].manifest.document["config"]
    assert (made["epochs"], made["steps"]) == (None, 3)


@pytest.mark.parametrize("options", [{"folder": "file/sweep"}, {"folder": "file"}, {"runs_dir": "file"}])
def test_a_file_in_the_place_of_the_sweeps_folder_is_named(machine, sweep, tmp_path, options):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecipeError, match=r"^file.*: the sweep's runs cannot be there, for file is a file; give ano"):
        sweep(["seed=1"], **options)


def test_a_run_is_not_taken_for_a_sweeps_folder(machine, sweep):
    machine.run()
    with pytest.raises(RecipeError, match=r"--folder: must be a folder of its own .* got the run runs/dummy"):
        sweep(["seed=1"], folder="runs/dummy")
