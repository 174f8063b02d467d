"""A recommendation model, most of whose weights are in embeddings: they are touched where asked for, and pack well."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline import Sparsifier
from stages.sparsify.zeros import gzip_bytes

NUM_USERS, NUM_ITEMS, WIDTH = 200, 120, 32
NUM_STEPS, BATCH_SIZE, LEARNING_RATE = 200, 256, 1e-2
TYPES = ("Embedding", "Linear")


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.users = nn.Embedding(NUM_USERS, WIDTH)
        self.items = nn.Embedding(NUM_ITEMS, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(2 * WIDTH, 48), nn.ReLU(), nn.Linear(48, 1))
        for embedding in (self.users, self.items):
            nn.init.normal_(embedding.weight, std=0.1)

    def forward(self, pairs):
        users, items = self.users(pairs[:, 0]), self.items(pairs[:, 1])
        return self.mlp(torch.cat([users, items], dim=1)).squeeze(1)


@pytest.fixture(scope="module")
def clicks():
    """Pairs of user and item, and whether the one clicks on the other: where their two hidden tastes agree."""
    generator = torch.Generator().manual_seed(0)
    users, items = (torch.randn(count, 2, generator=generator) for count in (NUM_USERS, NUM_ITEMS))
    pairs = torch.cartesian_prod(torch.arange(NUM_USERS), torch.arange(NUM_ITEMS))
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    return pairs, ((users[pairs[:, 0]] * items[pairs[:, 1]]).sum(1) > 0).float()


def trained(model, clicks, settings):
    """Train on all clicks but the last 4,000 and return the share of those that the model tells."""
    pairs, labels = clicks
    pruner = Sparsifier(model, settings, num_steps=NUM_STEPS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    generator = torch.Generator().manual_seed(1)
    for step in range(NUM_STEPS):
        rows = torch.randint(len(pairs) - 4000, (BATCH_SIZE,), generator=generator)
        functional.binary_cross_entropy_with_logits(model(pairs[rows]), labels[rows]).backward()
        pruner.before_optimizer_step(step)
        optimizer.step()
        pruner.after_optimizer_step(step, LEARNING_RATE)
        optimizer.zero_grad()
    pruner.finish()
    with torch.no_grad():
        return ((model(pairs[-4000:]) > 0) == (labels[-4000:] > 0)).float().mean().item()


@pytest.fixture(scope="module")
def dense(clicks):
    """The trained dense model's accuracy, its weights, and the bytes these take gzipped."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Recommender()
    accuracy = trained(model, clicks, {"enabled": False})
    return accuracy, model.state_dict(), gzip_bytes(model)


def sparse(dense, clicks, types, sparsity=0.8, pattern="1x4"):
    """Return the accuracy of a model sparsified to ``sparsity``, the model, and how much smaller it is gzipped."""
    model = Recommender()
    model.load_state_dict(dense[1])
    settings = {"sparsity": sparsity, "pattern": pattern, "criterion": "magnitude", "schedule": {"every": 10}}
    accuracy = trained(model, clicks, {**settings, "layers": {"types": types, "exclude": []}})
    return accuracy, model, dense[2] / gzip_bytes(model)


@pytest.mark.parametrize(("sparsity", "pattern", "size", "smaller"), [(0.8, "1x4", 4, 4.0), (0.9, "1x1", 1, 6.0)])
def test_a_recommender_sparsified_with_its_embeddings_packs_smaller_and_still_recommends(
    dense, clicks, sparsity, pattern, size, smaller
):
    accuracy, model, ratio = sparse(dense, clicks, TYPES, sparsity, pattern)
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    blocks = sum(weight.numel() for weight in weights) // size
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros == size * round(sparsity * blocks)
    assert ratio >= smaller
    assert dense[0] > 0.9
    assert accuracy > dense[0] - 0.08


def test_without_its_embeddings_most_of_a_recommender_stays_as_large_as_it_was(dense, clicks):
    _, model, ratio = sparse(dense, clicks, ("Linear",))
    assert all(bool((table.weight != 0).all()) for table in (model.users, model.items))
    assert ratio < 2.0
