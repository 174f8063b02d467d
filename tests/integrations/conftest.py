"""A tiny model, batches for it, and every kind of pruner that a loop may host."""

from __future__ import annotations

import pytest
import torch

from pipeline import MovementPruner, Sparsifier, TaylorPruner

NUM_STEPS = 8
PRUNERS = {
    "movement": (MovementPruner, {"sparsity": 0.5, "score_learning_rate": 0.5, "prune_begin": 1, "prune_end": 6}),
    "taylor": (TaylorPruner, {"sparsity": 0.5, "scope": "local", "rounds": 3, "prune_begin": 0, "prune_end": 6}),
    "sparsifier": (
        Sparsifier,
        {"sparsity": 0.75, "pattern": "2x1", "schedule": {"kind": "cos", "begin": 1, "end": 6, "every": 2}},
    ),
}


@pytest.fixture
def model(tiny_model):
    """A function to the same small BERT, time and again, in training mode."""
    return lambda dropout=0.1: tiny_model(
        "bert", hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
    ).train()


@pytest.fixture(params=list(PRUNERS))
def build(request):
    """A function from a model to each kind of pruner in turn, for a loop of eight steps."""
    kind, config = PRUNERS[request.param]
    return lambda model, **changes: kind(model, {**config, **changes}, num_steps=NUM_STEPS)


@pytest.fixture
def sparsifier():
    """A function from a model and settings to a pruner of weights."""
    kind, config = PRUNERS["sparsifier"]
    return lambda model, **changes: kind(model, {**config, **changes}, num_steps=NUM_STEPS)


@pytest.fixture
def batches():
    """The batches of eight steps."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(5, 50, (NUM_STEPS, 4, 7), generator=generator)
    return [{"input_ids": ids, "labels": ids[:, 0] % 3} for ids in tokens]


@pytest.fixture
def train(batches):
    """Train as the README's loop does."""

    def run(model, pruner, *, max_norm=None):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for step, batch in enumerate(batches):
            torch.manual_seed(step)
            model(**batch).loss.backward()
            pruner.before_optimizer_step(step)
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            pruner.after_optimizer_step(step, optimizer.param_groups[0]["lr"])
            optimizer.zero_grad()

    return run


@pytest.fixture
def assert_same():
    """Assert that two models, and the states of two pruners, are equal to the last bit."""

    def check(pairs):
        for left, right in pairs:
            one, other = left.state_dict(), right.state_dict()
            assert one.keys() == other.keys()
            assert one, "nothing would be compared"
            for name, tensor in one.items():
                assert torch.equal(tensor, other[name]), name

    return check
