import json
import os
import subprocess
import sys

import pytest

from pipeline.errors import CompressionError
from pipeline.training.processes import Processes, launched

LAUNCHED = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conftest
from pipeline import interruption
from pipeline.training.processes import launched

def run(folder, stop_after):
    model, calls = conftest.tiny_bert(), 0
    interruption._requested = None

    def objective(model, batch):
        nonlocal calls
        calls += 1
        if calls == stop_after and launched().process_index == 1:
            interruption._requested = 15
        return conftest.task_objective(model, batch)

    pruner = conftest.FakePruner(model)
    try:
        conftest.train(
            model, task=conftest.FakeTask(rows=70), config=conftest.settings(gradient_accumulation=2),
            objective=objective, pruner=pruner, seed=7, work_dir=folder / "work",
            log=conftest.MetricsLog(folder / "metrics.jsonl"),
        )
    except interruption.Interrupted as stop:
        return stop.signum
    return conftest.sha256(model), pruner.steps

folder = Path(sys.argv[2])
found = [run(folder / "whole", None), run(folder / "again", 6), run(folder / "again", None)]
(folder / f"{launched().process_index}.json").write_text(json.dumps(found))
"""


def test_without_a_launch_there_is_one_process():
    processes = Processes()
    assert (processes.count, processes.index, processes.is_main) == (1, 0, True)
    assert processes.largest(3) == 3
    assert launched().num_processes == 1


def test_what_the_main_process_does_is_told_to_the_others_and_its_failure_stops_them(monkeypatch):
    processes, told = Processes(), []
    monkeypatch.setattr(processes, "count", 2)
    monkeypatch.setattr(processes, "from_main", lambda value: told.append(value) or told[0])

    def fails():
        raise OSError("full disk")

    for act, outcome in ((lambda: "a folder", "a folder"), (lambda: "", ""), (lambda: "failed", "failed")):
        told.clear()
        monkeypatch.setattr(processes, "is_main", True)
        assert processes.on_main(act) == outcome
        monkeypatch.setattr(processes, "is_main", False)
        assert processes.on_main(fails) == outcome
    told.clear()
    monkeypatch.setattr(processes, "is_main", True)
    with pytest.raises(OSError, match="full disk"):
        processes.on_main(fails)
    monkeypatch.setattr(processes, "is_main", False)
    with pytest.raises(CompressionError, match="the main process could not go on"):
        processes.on_main(fails)


@pytest.mark.slow
def test_two_processes_end_in_the_same_weights_and_resume_to_them_when_one_is_stopped(tmp_path, request):
    script = tmp_path / "script.py"
    script.write_text(LAUNCHED)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    subprocess.run([*launch, str(script), str(request.path.parent), str(tmp_path)], env=environment, check=True)
    first, second = (json.loads((tmp_path / f"{index}.json").read_text()) for index in (0, 1))
    assert first == second
    (whole, steps), signum, (again, resumed_steps) = first
    assert (steps, signum, resumed_steps) == (list(range(9)), 15, list(range(4, 9)))
    assert again == whole
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "again")]
    assert logs[0] == logs[1]
