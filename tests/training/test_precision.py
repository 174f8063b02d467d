import random

import numpy as np
import pytest
import torch

from pipeline.errors import RecipeError
from pipeline.interruption import Interrupted
from pipeline.training import precision, randomness
from pipeline.training.loop import task_objective

CPU = torch.device("cpu")


def batch_of(fakes):
    return fakes.Task().train.batch(list(range(8)))


def test_timing_leaves_every_bit_as_it_was(fakes):
    model, batch = fakes.tiny_bert().train(), batch_of(fakes)
    model.register_buffer("calls", torch.zeros(1))
    model(**batch).loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    weights, states = fakes.sha256(model), randomness.capture()

    def loss():
        model.calls += 1
        random.random(), np.random.random()
        return model(**batch).loss

    timed = precision.time_precisions(model, loss, CPU)
    assert set(timed) == {"no", "bf16"}
    assert min(timed.values()) > 0
    assert fakes.sha256(model) == weights
    assert all(parameter.grad.equal(gradients[name]) for name, parameter in model.named_parameters())
    now = randomness.capture()
    assert all(now[name].equal(states[name]) for name in states if not name.endswith("gauss"))


def test_both_precisions_are_timed_in_turns(fakes):
    model, batch, seen = fakes.tiny_bert(), batch_of(fakes), []

    def loss():
        seen.append(torch.is_autocast_enabled("cpu"))
        return model(**batch).loss

    precision.time_precisions(model, loss, CPU, rounds=2)
    assert seen == [False, True] * 3


@pytest.mark.parametrize(
    ("bf16", "chosen"), [(50.0, "bf16"), (89.0, "bf16"), (91.0, "no"), (100.0, "no"), (300.0, "no")]
)
def test_bf16_is_chosen_where_it_clearly_wins(bf16, chosen):
    assert precision.faster({"no": 100.0, "bf16": bf16}) == chosen


@pytest.fixture
def emulated(monkeypatch):
    """Say that bf16 is done in software, or that it is not, whatever this processor does."""
    return lambda answer: monkeypatch.setattr(precision, "is_emulated", lambda device_type: answer)


def test_the_choice_is_recorded_and_changes_nothing_else(benches, emulated):
    emulated(False)
    plain = benches("plain").run(mixed_precision="no")
    auto = benches("auto").run(mixed_precision="auto")
    assert set(auto.training.timed_ms) == {"no", "bf16"}
    assert auto.training.mixed_precision == precision.faster(auto.training.timed_ms)
    if auto.training.mixed_precision == "no":
        assert auto.sha256 == plain.sha256
        assert auto.log == plain.log
    assert auto.training.details()["mixed_precision"] == auto.training.mixed_precision


def test_bf16_in_software_is_not_tried_in_a_step(benches, emulated, caplog):
    emulated(True)
    seen = []

    def objective(model, batch):
        seen.append(torch.is_autocast_enabled("cpu"))
        return task_objective(model, batch)

    caplog.set_level("INFO")
    result = benches("auto").run(mixed_precision="auto", objective=objective, epochs=1)
    assert (result.training.mixed_precision, result.training.timed_ms) == ("no", {})
    assert seen
    assert not any(seen)
    assert "mixed_precision: no (this processor does bf16 in software)" in caplog.text


@pytest.mark.parametrize(("float32", "bf16", "emulated"), [(1.0, 0.5, False), (1.0, 3.0, False), (1.0, 13.0, True)])
def test_bf16_far_slower_than_float32_is_done_in_software(monkeypatch, float32, bf16, emulated):
    seconds = {torch.float32: float32, torch.bfloat16: bf16}
    monkeypatch.setattr(precision, "_product_seconds", seconds.__getitem__)
    assert precision.is_emulated.__wrapped__("cpu") is emulated
    assert not precision.is_emulated.__wrapped__("cuda")


@pytest.mark.parametrize("choice", ["no", "bf16"])
def test_a_resumed_training_keeps_the_choice_and_times_nothing(benches, monkeypatch, choice):
    whole = benches("whole").run(mixed_precision=choice)
    bench, timed_ms = benches("again"), {"no": 1.0, "bf16": 2.0}
    monkeypatch.setattr(precision, "choose", lambda *arguments: (choice, timed_ms))
    with pytest.raises(Interrupted):
        bench.run(mixed_precision="auto", stop_after=4)

    def refuse(*arguments):
        raise AssertionError("timed again")

    monkeypatch.setattr(precision, "choose", refuse)
    again = bench.run(mixed_precision="auto")
    assert again.training.mixed_precision == choice
    assert again.training.timed_ms == timed_ms
    assert again.sha256 == whole.sha256


@pytest.mark.parametrize("choice", ["no", "bf16"])
def test_a_training_killed_in_its_first_step_keeps_the_choice(benches, monkeypatch, choice):
    whole = benches("whole").run(mixed_precision=choice, pruner=True)
    bench, timed_ms = benches("again"), {"no": 1.0, "bf16": 2.0}
    monkeypatch.setattr(precision, "choose", lambda *arguments: (choice, timed_ms))

    def dies(model, batch):
        raise MemoryError

    with pytest.raises(MemoryError):
        bench.run(mixed_precision="auto", objective=dies, pruner=True)
    other = {"no": "bf16", "bf16": "no"}[choice]
    monkeypatch.setattr(precision, "choose", lambda *arguments: (other, {}))
    again = bench.run(mixed_precision="auto", pruner=True)
    assert (again.training.mixed_precision, again.training.timed_ms) == (choice, timed_ms)
    assert again.sha256 == whole.sha256
    assert again.log == whole.log


def test_bf16_computes_in_bf16_and_hands_out_float32(bench):
    seen = []

    def objective(model, batch):
        hook = model.classifier.register_forward_hook(lambda module, arguments, output: seen.append(output.dtype))
        outputs = model(**batch, output_hidden_states=True)
        hook.remove()
        seen.append((outputs.logits.dtype, outputs.hidden_states[1].dtype, torch.is_autocast_enabled("cpu")))
        return outputs.loss, {}

    result = bench.run(mixed_precision="bf16", epochs=1, objective=objective)
    assert seen[:2] == [torch.bfloat16, (torch.float32, torch.float32, True)]
    assert not result.model._forward_hooks
    assert all(parameter.dtype == torch.float32 for parameter in result.model.parameters())


def test_fp16_needs_cuda(bench):
    with pytest.raises(RecipeError, match=r"training\.mixed_precision: fp16 needs a CUDA device, got cpu; use auto"):
        bench.run(mixed_precision="fp16")


def test_a_step_that_overflows_in_fp16_changes_no_weight_and_shows_the_pruner_no_infinity(bench, monkeypatch):
    monkeypatch.setattr(precision, "check_precision", lambda *arguments: None)
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: scaler("cpu", init_scale=1.0, enabled=enabled))
    overflows, weights = [1], []

    def objective(model, batch):
        loss, parts = task_objective(model, batch)
        weights.append(model.classifier.weight.detach().clone())
        return loss * (float("inf") if len(weights) - 1 in overflows else 1.0), parts

    monkeypatch.setattr("pipeline.training.window.Window.check_finite", lambda self: None)
    bench.run(mixed_precision="fp16", epochs=1, objective=objective, pruner=True)
    assert not weights[1].equal(weights[0])
    assert weights[2].equal(weights[1])
    assert not weights[3].equal(weights[2])
    assert bench.pruner.steps == [0, 1, 2, 3, 4]
    assert torch.isfinite(bench.pruner.scores).all()
