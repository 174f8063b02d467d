import subprocess

import pytest

from pipeline.artifacts.lock import RunLock
from pipeline.artifacts.run import Run
from pipeline.runner.twins import find_twin, tell_of_twin


def renamed(machine, *stages):
    """Return the plan of a recipe under another name, and so of a run folder that is not there."""
    return machine.plan(machine.recipe(*stages, name="other"), run_dir="runs/other")


@pytest.mark.parametrize("begins", [False, True])
def test_command_that_is_told_renames_the_run_so_that_nothing_runs_again(machine, caplog, begins, tmp_path):
    machine.run()
    machine.run(machine.recipe({"uses": "train", "add": 2}, name="third"), run_dir="runs/third")
    plan = renamed(machine)
    if begins:
        (tmp_path / "runs/other").mkdir()

    with caplog.at_level("INFO", "pipeline.runner.twins"):
        tell_of_twin(plan, begins=begins)

    (line,) = caplog.messages
    assert line.startswith("runs/dummy holds train, cut, recover as this recipe makes them; to take over what is there")
    assert (", stop this run and: rm -r runs/other && mv" in line) == begins
    subprocess.run(line.rpartition(": ")[2], shell=True, check=True)
    assert renamed(machine).is_fresh
    assert not (tmp_path / "runs/dummy").exists()


def test_run_that_holds_other_stages_too_is_copied_and_not_renamed(machine, caplog):
    machine.run()
    stages = [{"uses": "train"}, {"uses": "cut", "add": 2}]

    with caplog.at_level("INFO", "pipeline.runner.twins"):
        tell_of_twin(renamed(machine, *stages), begins=False)

    (line,) = caplog.messages
    assert line.startswith("runs/dummy holds train as this recipe makes it; ")
    subprocess.run(line.rpartition(": ")[2], shell=True, check=True)
    assert machine.states(renamed(machine, *stages)) == ["fresh", "stale"]
    assert machine.plan().is_fresh


def test_nothing_is_told_where_nothing_can_be_taken_over(machine):
    assert find_twin(renamed(machine)) is None
    run = machine.run()
    assert find_twin(machine.plan()) is None
    assert find_twin(renamed(machine, {"uses": "train", "add": 2})) is None
    with RunLock(run.path):
        assert find_twin(renamed(machine)) is None
    manifest = Run.open("runs/dummy")["train"].path / "manifest.json"
    manifest.unlink()
    assert find_twin(renamed(machine)) is None
