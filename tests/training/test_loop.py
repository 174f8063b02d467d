import logging
import re
import sys

import pytest
import torch

from pipeline.errors import CompressionError, RecipeError
from pipeline.interruption import Interrupted
from pipeline.training import progress_bar
from pipeline.training.half_done import HalfDone
from pipeline.training.loop import Loop, num_steps, task_objective
from pipeline.training.resume import Checkpoints


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"epochs": 3}, 15),
        ({"epochs": 0.5}, 3),
        ({"epochs": 0.01}, 1),
        ({"epochs": None, "steps": 7}, 7),
        ({"epochs": 2, "gradient_accumulation": 2}, 6),
        ({"epochs": 1, "batch_size": 100}, 1),
    ],
)
def test_a_stage_has_as_many_steps_as_its_epochs_need(fakes, bench, values, steps):
    assert num_steps(fakes.settings(**values), fakes.Task()) == steps
    assert bench.run(**values).training.steps == steps


def test_neither_epochs_nor_steps_is_a_mistake_in_the_recipe(fakes):
    with pytest.raises(RecipeError, match="neither epochs nor steps"):
        num_steps(fakes.settings(epochs=None), fakes.Task())


def test_training_learns(bench):
    losses = [line["loss"] for line in bench.run(epochs=20).log]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_two_trainings_of_one_seed_are_one(benches):
    assert benches("one").run().sha256 == benches("two").run().sha256


def test_the_pruner_is_called_around_the_step_in_order(bench, fakes, monkeypatch):
    calls = []

    def spied(name, original):
        def call(*arguments, **values):
            calls.append(name)
            return original(*arguments, **values)

        return call

    from pipeline.training import stepper

    pruner = fakes.Pruner
    for name in ("before_optimizer_step", "after_optimizer_step"):
        monkeypatch.setattr(pruner, name, spied(name, getattr(pruner, name)))
    for name in ("step", "zero_grad"):
        monkeypatch.setattr(torch.optim.AdamW, name, spied(name, getattr(torch.optim.AdamW, name)))
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(stepper.torch.nn.utils, "clip_grad_norm_", spied("clip", clip))
    monkeypatch.setattr(stepper.torch.autograd, "backward", spied("backward", torch.autograd.backward))
    bench.run(pruner=True, gradient_accumulation=2, epochs=None, steps=1)
    assert calls == [
        "backward",
        "backward",
        "before_optimizer_step",
        "clip",
        "step",
        "zero_grad",
        "after_optimizer_step",
    ]


def test_the_pruner_hears_each_step_and_the_learning_rate_it_was_made_with(bench, fakes, monkeypatch):
    heard = []
    monkeypatch.setattr(fakes.Pruner, "after_optimizer_step", lambda self, step, lr: heard.append((step, lr)))
    bench.run(pruner=True, epochs=None, steps=4, warmup=0, learning_rate=0.4)
    assert heard == [(0, 0.4), (1, pytest.approx(0.3)), (2, pytest.approx(0.2)), (3, pytest.approx(0.1))]


def test_two_small_batches_accumulated_are_one_large_batch(benches, fakes):
    def weights(**values):
        task = fakes.Task(rows=32, fixed_length=5)

        def objective(model, batch):
            model.eval()
            return task_objective(model, batch)

        values = {"epochs": 2, "length_pool": 1, "schedule": "constant", "warmup": 0, **values}
        return benches(str(values)).run(task=task, objective=objective, **values).model.state_dict()

    # Four batches of eight are all the rows, in whatever order.
    small, large = weights(batch_size=8, gradient_accumulation=4), weights(batch_size=32)
    other = weights(batch_size=8)
    name = "classifier.weight"
    assert torch.allclose(small[name], large[name], atol=1e-5)
    assert not torch.allclose(other[name], large[name], atol=1e-3)


def test_a_short_batch_counts_by_its_rows(benches, fakes):
    def run(name, **values):
        bench = benches(name)

        def objective(model, batch):
            model.eval()
            return task_objective(model, batch)

        values = {"epochs": 3, "length_pool": 1, "schedule": "constant", "warmup": 0, "log_every": 1, **values}
        result = bench.run(task=fakes.Task(rows=33, fixed_length=5), objective=objective, **values)
        return result.model.state_dict()["classifier.weight"], [
            line["loss"] for line in bench.log.lines() if "loss" in line
        ]

    # 16, 16 and 1 row; the row that is alone is another one in each epoch.
    small, told = run("small", batch_size=16, gradient_accumulation=3)
    large, expected = run("large", batch_size=33)
    assert torch.allclose(small, large, atol=1e-5)
    assert told == pytest.approx(expected, rel=1e-4)


def test_gradients_are_clipped_to_their_norm(bench, monkeypatch):
    seen = []
    step = torch.optim.AdamW.step

    def spied(self, *arguments, **values):
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        seen.append(float(torch.nn.utils.get_total_norm(gradients)))
        return step(self, *arguments, **values)

    monkeypatch.setattr(torch.optim.AdamW, "step", spied)
    log = bench.run(max_grad_norm=0.01, log_every=1, epochs=1).log
    assert max(seen) <= 0.0100001
    assert min(line["grad_norm"] for line in log) > 0.01


def test_a_line_of_the_log_holds_means_since_the_line_before(bench):
    losses = []

    def objective(model, batch):
        loss, _ = task_objective(model, batch)
        losses.append(loss.item())
        return loss, {"twice": 2 * loss.detach()}

    log = bench.run(objective=objective, log_every=4, epochs=None, steps=6, warmup=0, pruner=True).log
    assert [line["step"] for line in log] == [4, 6]
    assert log[0]["loss"] == pytest.approx(sum(losses[:4]) / 4)
    assert log[1]["loss"] == pytest.approx(sum(losses[4:]) / 2)
    assert log[1]["twice"] == pytest.approx(2 * log[1]["loss"])
    assert log[1]["lr"] == pytest.approx(1e-2 / 6)
    assert log[1]["epoch"] == 1.2
    assert log[0]["removed"] == pytest.approx(2 / 24)
    assert 0 < log[0]["tokens"] < log[1]["tokens"]


def test_tokens_are_real_ones_and_images_have_none(benches, fakes):
    task = fakes.Task()
    result = benches("text").run(task=task, epochs=2)
    assert result.log[-1]["tokens"] == 2 * task.train.lengths.sum()
    assert result.training.tokens_per_second > result.training.rows_per_second > 0
    assert benches("images").run(task=fakes.Task(fixed_length=6)).training.tokens_per_second is None


def test_a_loss_that_is_not_finite_stops_the_stage_and_leaves_the_save_before(benches):
    def poisoned(at):
        calls = 0

        def objective(model, batch):
            nonlocal calls
            loss, parts = task_objective(model, batch)
            calls += 1
            return (loss * float("nan") if calls - 1 == at else loss), parts

        return objective

    bench = benches("bad")
    with pytest.raises(Interrupted):
        bench.run(stop_after=6)
    (save,) = bench.folder.rglob("state.safetensors")
    before = save.read_bytes()
    with pytest.raises(CompressionError, match=r"not finite at step 9: lower learning_rate.*untouched") as error:
        bench.run(objective=poisoned(at=3), save_seconds=0, save_share=1e9, log_every=100)
    assert "\n" not in str(error.value)
    (save,) = bench.folder.rglob("state.safetensors")
    assert save.parent.name == "save-000004"
    bench = benches("untouched")
    with pytest.raises(Interrupted):
        bench.run(stop_after=6)
    with pytest.raises(CompressionError, match="step 6"):
        bench.run(objective=poisoned(at=0), save_seconds=0, save_share=1e9)
    (save,) = bench.folder.rglob("state.safetensors")
    assert save.read_bytes() == before
    assert bench.run().sha256 == benches("whole").run().sha256


def test_weights_that_are_not_finite_are_never_saved(bench):
    def objective(model, batch):
        model.classifier.bias.register_hook(lambda gradient: gradient * float("nan"))
        return task_objective(model, batch)

    with pytest.raises(CompressionError, match="not finite"):
        bench.run(objective=objective, max_grad_norm=None, save_seconds=0, save_share=1e9)
    assert not list(bench.folder.rglob("state.safetensors"))


def test_the_model_is_left_in_evaluation_mode_without_gradients(bench):
    model = bench.run(epochs=1).model
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_stage_is_saved_while_it_runs_when_its_seconds_are_over_and_at_its_end(bench, monkeypatch):
    saves = []
    monkeypatch.setattr(HalfDone, "is_due", lambda self: self.position.step in (3, 6))
    monkeypatch.setattr(HalfDone, "is_cheap", lambda self: False)
    monkeypatch.setattr(Checkpoints, "save", lambda self, tensors, document: saves.append(document["position"]["step"]))
    bench.run(epochs=2)
    assert saves == [3, 6, 10]


@pytest.mark.parametrize(("due", "cheap"), [(False, False), (True, False), (False, True)])
def test_what_was_trained_is_saved_before_an_evaluation_if_that_is_due_or_cheap(bench, monkeypatch, due, cheap):
    saves = []

    def save(self, tensors, document):
        saves.append((document["position"]["step"], document["position"]["evaluated"]))

    monkeypatch.setattr(HalfDone, "is_due", lambda self: due and self.position.evaluated == 0 and not saves)
    monkeypatch.setattr(HalfDone, "is_cheap", lambda self: cheap)
    monkeypatch.setattr(Checkpoints, "save", save)
    monkeypatch.setattr(Loop, "_pause", lambda self: None)
    bench.run(epochs=2, evaluate_every=1)
    assert saves == ([(5, 0)] if due or cheap else []) + [(10, 5)]


def test_away_from_a_terminal_there_is_a_line_now_and_then(bench, caplog, capfd, monkeypatch):
    monkeypatch.setattr(progress_bar, "LINE_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        bench.run(epochs=1, progress=True, log_every=1)
    lines = [record.getMessage() for record in caplog.records if "step 3 of 5, loss" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("fake: step 3 of 5, loss ")
    assert capfd.readouterr().err == ""


def test_loss_metric_and_share_removed_are_told_beside_the_steps(bench, caplog, monkeypatch):
    monkeypatch.setattr(progress_bar, "LINE_SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        bench.run(epochs=2, progress=True, log_every=1, evaluate_every=1, pruner=True)
    told = [record.getMessage() for record in caplog.records if "step 7 of 10" in record.getMessage()]
    assert len(told) == 1
    assert re.fullmatch(r"fake: step 7 of 10, loss [\d.]+, removed 0\.\d+, accuracy [\d.]+, \d+ s left", told[0])


@pytest.mark.parametrize("shown", [True, False])
def test_on_a_terminal_there_is_a_bar_unless_it_is_switched_off(bench, capsys, caplog, monkeypatch, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bench.run(epochs=1, progress=shown, log_every=1)
    shown_text = capsys.readouterr().err
    assert ("fake" in shown_text and "5/5" in shown_text and "loss" in shown_text) == shown
    assert bool(shown_text) == shown
