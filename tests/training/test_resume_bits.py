import signal
import subprocess
import sys
import time

import pytest
import torch

from pipeline import interruption
from pipeline.errors import ArtifactError
from pipeline.interruption import Interrupted
from pipeline.training import half_done, precision
from pipeline.training.loop import task_objective
from pipeline.training.resume import Checkpoints

STEPS = 15


def resumed(bench, stops, **values):
    for stop in stops:
        with pytest.raises(Interrupted):
            bench.run(stop_after=stop, **values)
    return bench.run(**values)


@pytest.mark.parametrize("stops", [[1], [4], [5], [7], [14], [1, 1, 2, 3]])
@pytest.mark.parametrize("pruner", [False, True])
def test_a_stopped_and_resumed_training_ends_in_the_same_bits(benches, stops, pruner):
    whole = benches("whole").run(pruner=pruner)
    again = resumed(benches("again"), stops, pruner=pruner)
    assert whole.training.steps == again.training.steps == STEPS
    assert again.sha256 == whole.sha256
    assert again.log == whole.log


@pytest.mark.parametrize("stops", [[1], [7], [14], [1, 1, 2, 3]])
def test_word_embeddings_updated_by_rows_resume_in_the_same_bits(benches, fakes, stops):
    values = {"embedding_gradients": "sparse", "evaluate_every": 0.4, "length_pool": 1}
    whole = benches("whole").run(**values)
    again = resumed(benches("again"), stops, **values)
    assert again.sha256 == whole.sha256
    assert again.log == whole.log
    selected = benches("selected").run(task=falling_task(fakes), **values)
    assert resumed(benches("selected again"), stops, task=falling_task(fakes), **values).sha256 == selected.sha256


def test_a_resume_does_only_the_steps_that_are_left(benches, fakes):
    bench = benches("again")
    with pytest.raises(Interrupted):
        bench.run(stop_after=11, pruner=True)
    assert bench.pruner.steps == list(range(11))
    bench.run(pruner=True)
    assert bench.pruner.steps == list(range(11, STEPS))


def test_the_last_batch_of_an_epoch_has_one_row(bench, fakes):
    task = fakes.Task()
    bench.run(task=task)
    assert task.train.batches == {8: 12, 1: 3}


def falling_task(fakes):
    """Score lower at every evaluation, so that the first epoch is the best."""

    class Falling(fakes.Task):
        def score(self, predictions, references):
            return {"accuracy": 1 / (1 + sum(self.select.batches.values()))}

    return Falling(select=True)


@pytest.mark.parametrize(
    ("left_out", "values"),
    [
        ("weights", {}),
        ("optimizer", {}),
        ("random", {}),
        ("position", {}),
        ("pruner", {"pruner": True}),
        ("weights", {"pruner": True}),
        ("optimizer", {"pruner": True}),
        ("best", {"select": True}),
    ],
)
def test_leaving_out_one_part_of_the_state_ends_in_other_weights(benches, fakes, monkeypatch, left_out, values):
    values = dict(values)
    select = values.pop("select", False)

    def task():
        return falling_task(fakes) if select else fakes.Task()

    whole = benches("whole").run(task=task(), **values)
    shared = task()
    assert resumed(benches("again"), [8], task=shared, **values).sha256 == whole.sha256
    monkeypatch.setattr(half_done, "RESTORED", tuple(part for part in half_done.RESTORED if part != left_out))
    assert resumed(benches("less"), [8], task=task(), **values).sha256 != whole.sha256


def test_the_parts_that_are_saved_are_those_that_are_restored(benches, fakes, monkeypatch):
    monkeypatch.setattr(precision, "check_precision", lambda *arguments: None)
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: scaler("cpu", enabled=enabled))

    def saved(name, **values):
        bench = benches(name)
        bench.run(epochs=1, **values)
        tensors, document = Checkpoints(bench.folder / "work" / "training", save_seconds=0, save_share=1).load()
        assert document.keys() == {"position", "window", "identity"}
        return {tensor.partition(".")[0] for tensor in tensors}

    always = {"weights", "optimizer", "random"}
    assert saved("plain") == always
    assert saved("pruning", pruner=True) == always | {"pruner"}
    assert saved("selecting", task=fakes.Task(select=True)) == always | {"best"}
    assert saved("scaled", mixed_precision="fp16") == always | {"scale"}
    assert set(half_done.RESTORED) == always | {"pruner", "best", "scale", "position"}


@pytest.mark.parametrize("gradients", ["dense", "sparse"])
def test_evaluations_between_steps_change_no_bit(benches, gradients):
    silent = benches("silent").run(evaluate_every=None, embedding_gradients=gradients)
    talking = benches("talking").run(evaluate_every=0.4, embedding_gradients=gradients)
    evaluations = [line["step"] for line in talking.log if "validation/accuracy" in line]
    assert evaluations == [2, 4, 6, 8, 10, 12, 14]
    assert talking.sha256 == silent.sha256


def test_the_best_epoch_is_kept_and_survives_a_resume(benches, fakes):
    task = falling_task(fakes)
    first_epoch = benches("first").run(epochs=1, schedule="constant", warmup=0)
    whole = benches("whole").run(task=falling_task(fakes), schedule="constant", warmup=0)
    assert whole.training.best_step == 5
    assert whole.sha256 == first_epoch.sha256
    again = resumed(benches("again"), [7, 4], task=task, schedule="constant", warmup=0)
    assert again.sha256 == whole.sha256


def test_the_best_epoch_never_replaces_where_a_pruner_ended(bench, fakes):
    result = bench.run(task=falling_task(fakes), pruner=True)
    assert result.training.best_step is None
    assert bench.pruner.weight.data.equal(bench.pruner.raw * bench.pruner.mask)


def test_a_signal_inside_an_evaluation_loses_nothing(benches, fakes, monkeypatch):
    def task_with_a_signal():
        task = fakes.Task()
        split = task.validation["validation"]
        original = split.batch

        def batch(rows):
            monkeypatch.setattr(interruption, "_requested", 2)
            return original(rows)

        split.batch = batch
        split.tokens, split.lengths = split.tokens * 20, split.lengths.repeat(20)
        return task

    whole = benches("whole").run(evaluate_every=1)
    bench = benches("again")
    with pytest.raises(Interrupted) as stopped:
        bench.run(task=task_with_a_signal(), evaluate_every=1)
    assert stopped.value.signum == 2
    assert not any("validation/accuracy" in line for line in bench.log.lines())
    again = bench.run(evaluate_every=1)
    assert again.sha256 == whole.sha256
    assert again.log == whole.log


def test_an_evaluation_that_a_signal_lets_finish_is_not_made_again(benches, fakes, monkeypatch):
    class Signalled(fakes.Task):
        def score(self, predictions, references):
            monkeypatch.setattr(interruption, "_requested", 2)
            return super().score(predictions, references)

    whole = benches("whole").run(evaluate_every=1)
    bench = benches("again")
    with pytest.raises(Interrupted):
        bench.run(task=Signalled(), evaluate_every=1)
    assert bench.log.lines()[-1]["validation/accuracy"] == whole.log[2]["validation/accuracy"]
    again = bench.run(evaluate_every=1)
    assert again.sha256 == whole.sha256
    assert again.log == whole.log


@pytest.mark.parametrize("saved_after", [None, 6])
def test_a_crash_between_saves_leaves_no_line_of_what_was_lost(benches, monkeypatch, saved_after):
    def crashing(model, batch):
        nonlocal calls
        calls += 1
        if calls == 10:
            raise MemoryError
        return task_objective(model, batch)

    whole, bench, calls = benches("whole").run(), benches("again"), 0
    monkeypatch.setattr(half_done.HalfDone, "is_due", lambda self: self.position.step == saved_after)
    with pytest.raises(MemoryError):
        bench.run(objective=crashing)
    assert bench.log.lines()[-1]["step"] == 8
    again = bench.run()
    assert again.sha256 == whole.sha256
    assert again.log == whole.log


def test_a_finished_training_restores_its_end_without_a_step(bench, fakes):
    whole = bench.run(save_share=1e-9)
    task = fakes.Task()
    again = bench.run(task=task)
    assert again.sha256 == whole.sha256
    assert not task.train.batches
    assert again.training.rows_per_second > 0


def test_accumulated_steps_resume_in_the_same_bits(benches):
    values = {"gradient_accumulation": 2, "evaluate_every": 1}
    whole = benches("whole").run(**values)
    assert whole.training.steps == 9
    again = resumed(benches("again"), [3, 9], **values)
    assert again.sha256 == whole.sha256


def test_a_save_of_another_training_is_refused(bench):
    with pytest.raises(Interrupted):
        bench.run(stop_after=3)
    with pytest.raises(ArtifactError, match=r"begun with steps 15, now it is 20.*delete .*work"):
        bench.run(epochs=4)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conftest
import torch
torch.set_num_threads(1)
model = conftest.tiny_bert()
folder = Path(sys.argv[2])
conftest.train(
    model, task=conftest.FakeTask(), config=conftest.settings(epochs=400, save_seconds=0, save_share=1e9),
    objective=conftest.task_objective, pruner=conftest.FakePruner(model), seed=7,
    work_dir=folder / "work", log=conftest.MetricsLog(folder / "metrics.jsonl"),
)
"""


def test_a_killed_process_leaves_a_save_to_resume_from(tmp_path, benches, request):
    command = [sys.executable, "-c", KILLED, str(request.path.parent), str(tmp_path / "killed")]
    process = subprocess.Popen(command)
    folder = tmp_path / "killed" / "work" / "training"
    deadline = time.monotonic() + 120
    while not list(folder.glob("save-0000[2-9]*")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    bench = benches("killed")
    with pytest.raises(Interrupted):
        bench.run(epochs=400, pruner=True, stop_after=30)
    assert bench.pruner.steps[0] >= 20
    done = bench.pruner.steps[-1] + 1
    with pytest.raises(Interrupted):
        benches("whole").run(epochs=400, pruner=True, stop_after=done)
    assert bench.log.lines() == benches("whole").log.lines()
    assert saved_weights(bench) == saved_weights(benches("whole"))


def saved_weights(bench):
    (path,) = (bench.folder / "work").rglob("state.safetensors")
    return path.read_bytes()
