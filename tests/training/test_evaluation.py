import pytest
import torch

from pipeline import interruption
from pipeline.training import randomness
from pipeline.training.evaluation import evaluate


class Recording:
    """A task that returns what it was given to score."""

    def __init__(self, fakes, rows=30):
        self.task = fakes.Task()
        self.validation = {"matched": fakes.Split("a", rows, 4), "mismatched": fakes.Split("b", 7, 5)}
        self.scored = []

    def predictions(self, outputs, batch):
        return outputs.logits[:, 0].tolist(), batch["input_ids"][:, 0].tolist()

    def score(self, predictions, references):
        self.scored.append((predictions, references))
        return {"mean": sum(predictions) / len(predictions), "count": len(references)}


def test_every_split_is_reported_under_its_name(fakes):
    scores = evaluate(fakes.tiny_bert(), Recording(fakes))
    assert list(scores) == ["matched/mean", "matched/count", "mismatched/mean", "mismatched/count"]
    assert (scores["matched/count"], scores["mismatched/count"]) == (30.0, 7.0)
    assert all(isinstance(value, float) for value in scores.values())


def test_rows_are_scored_in_their_own_order_whatever_the_batches(fakes):
    model, task = fakes.tiny_bert(), Recording(fakes)
    split = task.validation["matched"]
    for batch_size in (1, 7, 64):
        evaluate(model, task, splits={"x": split}, batch_size=batch_size)
    first = [int(tokens[0]) for tokens in split.tokens]
    assert all(references == first for _, references in task.scored)
    singly = task.scored[0][0]
    assert all(found == pytest.approx(singly, abs=1e-6) for found, _ in task.scored)


def test_an_evaluation_changes_neither_modes_nor_random_states_nor_gradients(fakes):
    model = fakes.tiny_bert(dropout=0.5).train()
    model.bert.embeddings.eval()
    modes = [module.training for module in model.modules()]
    states = randomness.capture()
    once, twice = evaluate(model, Recording(fakes)), evaluate(model, Recording(fakes))
    assert once == twice
    assert [module.training for module in model.modules()] == modes
    assert torch.get_rng_state().equal(states["torch"])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_evaluation_is_in_float32_even_under_autocast(fakes):
    model, task = fakes.tiny_bert(), Recording(fakes)
    plain = evaluate(model, task)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert evaluate(model, task) == plain


def test_a_signal_stops_between_two_batches_and_restores_the_mode(fakes, monkeypatch):
    model, task = fakes.tiny_bert().train(), Recording(fakes)
    monkeypatch.setattr(interruption, "_requested", 2)
    with pytest.raises(interruption.Interrupted):
        evaluate(model, task)
    assert model.training
    assert not task.scored
