"""A split of rows of uneven lengths, and a made-up teacher whose answers to a token depend on row and place alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.teaching.answers import Taught

LAYERS, WIDTH = 3, 4


class Rows:
    def __init__(self, num_rows, *, is_text):
        generator = np.random.default_rng(0)
        self.name = "train"
        self.lengths = generator.integers(2, 9, num_rows) if is_text else None
        self.num_rows = num_rows

    def __len__(self):
        return self.num_rows


class MadeUp:
    """Answers in the shapes of a task: ``classes`` of a row, ``spans`` over tokens, or ``tags`` of each token."""

    def __init__(self, split, heads=("classes",), *, has_hidden=True):
        self.split, self.heads, self.has_hidden = split, heads, has_hidden
        self.asked = []

    def __call__(self, rows):
        self.asked.append(list(rows))
        rows = torch.as_tensor(rows)
        lengths = (
            torch.full((len(rows),), 5) if self.split.lengths is None else torch.as_tensor(self.split.lengths)[rows]
        )
        tokens = torch.arange(int(lengths.max()))
        mask = tokens < lengths[:, None]
        number = (rows[:, None] + tokens / 16).float()
        shapes = {
            "classes": rows[:, None] + torch.arange(3) / 8,
            "spans": number,
            "tags": number[..., None].repeat(1, 1, 2),
        }
        logits = tuple(shapes[head].float() + 100 * index for index, head in enumerate(self.heads))
        layers = tuple(((number + layer / 128)[..., None] - torch.arange(WIDTH)) for layer in range(LAYERS))
        projections = tuple(layer[..., 1:] + 50 for layer in layers[:2])
        return (Taught(logits, layers, projections) if self.has_hidden else Taught(logits)), mask


@pytest.fixture
def made_up():
    """Return a function that makes a teacher over a split of so many rows, of text or of images."""

    def make(heads=("classes",), *, num_rows=70, is_text=True, has_hidden=True):
        return MadeUp(Rows(num_rows, is_text=is_text), heads, has_hidden=has_hidden)

    return make
