"""A recommendation model, embeddings and an MLP on generated clicks, in a loop of one's own."""

import copy

import pytest
import torch
from torch import nn

from stages.sparsify import Sparsifier
from stages.sparsify.zeros import gzip_bytes

USERS, ITEMS, STEPS = 200, 120, 300


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(USERS, 32), nn.Embedding(ITEMS, 32)
        self.mlp = nn.Sequential(nn.Linear(96, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.click = nn.Linear(128, 1)

    def forward(self, users, items):
        user, item = self.users(users), self.items(items)
        return self.click(self.mlp(torch.cat([user, item, user * item], dim=-1)))[..., 0]


@pytest.fixture(scope="module")
def clicks():
    """Which items each user clicks: those near to what they like, in three hidden tastes."""
    generator = torch.Generator().manual_seed(0)
    taste, appeal = torch.randn(USERS, 3, generator=generator), torch.randn(ITEMS, 3, generator=generator)
    return (taste @ appeal.t() > 0.5).float()


def train(model, clicks, pruner=None):
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(STEPS):
        users = torch.randint(0, USERS, (512,), generator=generator)
        items = torch.randint(0, ITEMS, (512,), generator=generator)
        nn.functional.binary_cross_entropy_with_logits(model(users, items), clicks[users, items]).backward()
        if pruner is not None:
            pruner.before_optimizer_step(step)
        optimizer.step()
        if pruner is not None:
            pruner.after_optimizer_step(step, 5e-3)
        optimizer.zero_grad()
    if pruner is not None:
        pruner.finish()


@torch.no_grad()
def accuracy(model, clicks):
    users, items = torch.cartesian_prod(torch.arange(USERS), torch.arange(ITEMS)).unbind(1)
    return float(((model(users, items) > 0).float() == clicks[users, items]).float().mean())


@pytest.fixture(scope="module")
def dense(clicks):
    torch.manual_seed(0)
    model = Recommender()
    train(model, clicks)
    return model


@pytest.mark.parametrize(
    ("settings", "known", "smaller"),
    [
        ({"sparsity": 0.8, "pattern": "1x4", "max_sparsity_per_layer": 0.92}, 0.83, 4.0),
        ({"sparsity": 0.9, "pattern": "1x1", "scope": "local"}, 0.77, 6.0),
    ],
)
def test_a_sparse_recommendation_model_still_knows_clicks_and_packs_small(dense, clicks, settings, known, smaller):
    model = copy.deepcopy(dense)
    layers = {"types": ["Linear", "Embedding"], "exclude": []}
    pruner = Sparsifier(model, {**settings, "layers": layers, "schedule": {"every": 20, "end": 0.6}}, num_steps=STEPS)
    assert {"users.weight", "items.weight"} <= pruner.masks().keys()
    train(model, clicks, pruner)
    assert pruner.logs()["weights_removed"] == pytest.approx(settings["sparsity"], abs=1e-3)
    assert float(1 - clicks.mean()) < 0.65  # what it would know by never clicking
    assert accuracy(model, clicks) > known
    assert gzip_bytes(dense) / gzip_bytes(model) > smaller
