import os
import signal
import sys
from contextlib import suppress

import pytest

from pipeline import Run, interruption
from pipeline.interruption import Interrupted
from pipeline.runner import execute


def test_interruption_before_a_stage_stops_and_resumes(machine, monkeypatch):
    class Signalled(machine.Train):
        def run(self, context):
            result = super().run(context)
            os.kill(os.getpid(), signal.SIGTERM)
            return result

    with pytest.raises(Interrupted) as stopped:
        machine.run(stages={**machine.STAGES, "train": Signalled})
    assert stopped.value.signum == signal.SIGTERM
    assert machine.states(machine.plan())[0] == "half-done"
    assert machine.run().stages == ("train", "cut", "recover")


def test_signal_while_the_model_is_measured_keeps_the_half_done_work_and_commits_nothing(machine, monkeypatch):
    def measure(model, task):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"validation/accuracy": 0.5}

    with monkeypatch.context() as signalled:
        signalled.setattr(sys.modules["pipeline.training.evaluation"], "evaluate", measure)
        with pytest.raises(Interrupted) as stopped:
            machine.run()

    assert stopped.value.signum == signal.SIGTERM
    assert machine.states(machine.plan()) == ["half-done", "missing", "missing"]
    assert not list(Run.open("runs/dummy").path.glob(".new*"))
    machine.run()
    assert machine.CALLS[:3] == ["train", "train", "train resumed"]


def test_signal_during_the_last_commit_is_heeded_when_it_is_whole(machine, monkeypatch):
    def sign(run):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(sys.modules["pipeline.reporting.report"], "write_report", sign)
    with pytest.raises(Interrupted):
        machine.run(machine.recipe({"uses": "train"}))
    assert machine.plan(machine.recipe({"uses": "train"})).is_fresh


def test_stop_that_a_library_swallowed_while_data_was_read_writes_nothing(machine, tmp_path):
    with interruption.stopping_at_once():
        plan = machine.plan()
        with suppress(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            execute(plan)
    assert not (tmp_path / "runs").exists()
