"""``--from``: what it redoes, and that the same command repeated goes on with a redo that was cut short."""

import json

import pytest

from pipeline.artifacts.run import Run


def failing(machine, name):
    """Return the stage types, of which the one called ``name`` fails after it has saved its work."""

    class Failing(machine.Cut if name == "cut" else machine.Train):
        def run(self, context):
            result = super().run(context)
            if context.name == name:
                raise RuntimeError("asked to fail")
            return result

    return {**machine.STAGES, "cut" if name == "cut" else "train": Failing}


def ran(machine):
    """Return the stages that ran since the last call."""
    calls = [call for call in machine.CALLS if not call.startswith("teacher")]
    machine.CALLS.clear()
    return calls


@pytest.fixture
def stale(machine):
    """A finished run, and its recipe with another first stage."""
    machine.run()
    ran(machine)
    return machine.recipe({"uses": "train", "add": 3}, {"uses": "cut"}, {"uses": "train", "name": "recover"})


def interrupt(machine, recipe, name, **options):
    with pytest.raises(RuntimeError, match="asked to fail"):
        machine.run(recipe, stages=failing(machine, name), **options)
    return ran(machine)


def test_repeated_command_resumes_the_redo_on_the_stale_stage_before_it(machine, stale):
    assert interrupt(machine, stale, "cut", from_stage="cut") == ["cut"]
    plan = machine.plan(stale, from_stage="cut")
    assert machine.states(plan) == ["stale", "half-done", "stale"]
    assert plan.stages[1].reasons == ("to be redone, as --from asked",)

    machine.run(stale, from_stage="cut")

    assert ran(machine) == ["cut", "cut resumed", "recover"]


def test_repeated_command_keeps_what_the_redo_has_committed(machine, stale):
    assert interrupt(machine, stale, "recover", from_stage="cut") == ["cut", "recover"]
    redone = Run.open("runs/dummy")["cut"].manifest

    run = machine.run(stale, from_stage="cut")

    assert ran(machine) == ["recover", "recover resumed"]
    assert run["cut"].manifest == redone


def test_command_after_a_redo_that_is_done_redoes_all_again(machine, stale):
    interrupt(machine, stale, "recover", from_stage="cut")
    machine.run(stale, from_stage="cut")
    ran(machine)

    machine.run(stale, from_stage="cut")

    assert ran(machine) == ["cut", "recover"]
    assert not (Run.open("runs/dummy").path / "work").exists()


def test_redo_that_reaches_further_asks_for_what_it_did_not_name_before(machine, stale):
    interrupt(machine, stale, "cut", from_stage="cut", until="cut")

    machine.run(stale, from_stage="cut")

    assert ran(machine) == ["cut", "cut resumed", "recover"]


def test_redo_from_an_earlier_stage_is_one_of_its_own(machine, stale):
    interrupt(machine, stale, "recover", from_stage="recover")

    machine.run(stale, from_stage="cut")

    assert ran(machine) == ["cut", "recover"]


def test_redo_whose_settings_changed_starts_over(machine, stale):
    interrupt(machine, stale, "cut", from_stage="cut")
    stale["stages"][1]["add"] = 2

    machine.run(stale, from_stage="cut")

    assert ran(machine) == ["cut", "recover"]


def test_stages_that_were_never_made_are_made_once_by_a_redo_that_is_repeated(machine):
    machine.run(until="train")
    ran(machine)
    assert interrupt(machine, None, "recover", from_stage="cut") == ["cut", "recover"]

    machine.run(from_stage="cut")

    assert ran(machine) == ["recover", "recover resumed"]
    assert not (Run.open("runs/dummy").path / "work").exists()


def test_half_deleted_work_is_never_taken_for_a_save(machine, monkeypatch):
    """As after a kill between two files of the deletion."""
    machine.run(until="train")
    interrupt(machine, None, "cut")
    (Run.open("runs/dummy").path / "work/cut/checkpoint/save-000001/state.json").write_text("whole")

    def dies(folder, **options):
        (folder / "checkpoint/save-000001/state.json").unlink()
        raise KeyboardInterrupt

    other = machine.recipe({"uses": "train"}, {"uses": "cut", "add": 2})
    with monkeypatch.context() as killed:
        killed.setattr("pipeline.artifacts.commit.shutil.rmtree", dies)
        with pytest.raises(KeyboardInterrupt):
            machine.run(other)

    assert machine.states(machine.plan()) == ["fresh", "missing", "missing"]
    ran(machine)
    machine.run()
    assert ran(machine) == ["cut", "recover"]
    assert not (Run.open("runs/dummy").path / "work").exists()


def test_commits_of_the_hub_are_kept_before_any_stage_runs(machine, monkeypatch):
    commits = iter(["a" * 40, "b" * 40])
    monkeypatch.setattr("pipeline.artifacts.hub._ask_hub", lambda kind, repository, revision: next(commits))
    kept = []

    class Looks(machine.Train):
        def run(self, context):
            kept.append(json.loads((Run.open("runs/dummy").path / "commits.json").read_text())["commits"])
            return super().run(context)

    recipe = machine.recipe({"uses": "train"}, model="owner/name")
    machine.run(recipe, stages={"train": Looks})

    assert kept == [{"models/owner/name@main": "a" * 40}]
    assert machine.plan(recipe).is_fresh
