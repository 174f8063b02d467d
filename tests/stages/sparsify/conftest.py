"""Small networks of every kind of layer, a loop to train them, and their zeros counted."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from stages.sparsify import Sparsifier, SparsifyConfig

STEPS, LR = 20, 1e-2


class Small(nn.Module):
    """A little of everything that has a matrix."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.mix = nn.Conv1d(8, 8, 3, padding=1)
        self.lstm = nn.LSTM(8, 8)
        self.gru = nn.GRU(8, 8)
        self.transposed = Conv1D(16, 8)
        self.attention = nn.MultiheadAttention(16, 2)
        self.classifier = nn.Linear(16, 4)

    def forward(self, x):
        x = self.mix(torch.relu(self.conv(x[:, None])).mean(-1))
        x = self.gru(self.lstm(x.permute(2, 0, 1))[0])[0]
        x = self.transposed(torch.relu(x))
        x = self.attention(x, x, x, need_weights=False)[0]
        return self.classifier(x.mean(0))


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 8))


INPUTS = {Small: (5, 6, 6), nn.Sequential: (5, 16)}


@pytest.fixture
def steps():
    """Train as any loop does; the inputs follow from the step."""

    def train(model, pruner, count=STEPS, *, first=0, optimizer=None, lr=LR, after=lambda step: None):
        optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
        for step in range(first, first + count):
            x = torch.randn(INPUTS[type(model)], generator=torch.Generator().manual_seed(step))
            model(x).square().mean().backward()
            pruner.before_optimizer_step(step)
            optimizer.step()
            pruner.after_optimizer_step(step, lr)
            optimizer.zero_grad()
            after(step)
        return optimizer

    return train


@pytest.fixture
def make():
    """A function from a model and settings to a pruner for as many steps as the loop takes."""

    def build(model, num_steps=STEPS, **settings):
        config = SparsifyConfig(**{"schedule": {"every": 3, "end": 0.8}, **settings})
        return Sparsifier(model, config, num_steps=num_steps)

    return build


@pytest.fixture
def zeros():
    """A function to the number of zeros in the weights that a pruner touches, and to the number of these."""

    def count(model, pruner):
        names, parameters = pruner.masks(), dict(model.named_parameters())
        return sum(int((parameters[name] == 0).sum()) for name in names), sum(parameters[n].numel() for n in names)

    return count
