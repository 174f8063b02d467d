"""Tiny recipes that go through all five stages in seconds, on generated text and on real digits."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch

TEXT: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "model": {
        "config": {
            "model_type": "bert",
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 32,
            "max_position_embeddings": 64,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
        }
    },
    "task": {
        "type": "text-classification",
        "dataset": {"builtin": "grammar"},
        "text": "text",
        "label": "label",
        "metric": "accuracy",
        "max_length": 32,
        "train_rows": 33,
        "validation_rows": 24,
    },
    "training": {
        "batch_size": 8,
        "learning_rate": 3e-3,
        "epochs": 2,
        "mixed_precision": "no",
        "length_pool": 2,
        "log_every": 1,
        "progress": False,
    },
    "stages": [
        {"uses": "finetune"},
        {"uses": "prune_heads", "granularity": "block", "sparsity": 0.5},
        {"uses": "distill", "name": "recover_heads"},
        {"uses": "prune_ffn", "sparsity": 0.5, "rounds": 3},
        {"uses": "distill", "name": "recover_ffn"},
    ],
}

IMAGES: dict[str, Any] = {
    **TEXT,
    "name": "tiny-images",
    "model": {
        "config": {
            "model_type": "vit",
            "image_size": 8,
            "patch_size": 4,
            "num_channels": 1,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 32,
        }
    },
    "task": {
        "type": "image-classification",
        "dataset": {"builtin": "digits"},
        "image": "image",
        "label": "label",
        "metric": "accuracy",
        "train_rows": 33,
        "validation_rows": 24,
    },
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Bits are compared between runs, so all of them use the same number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_text() -> dict[str, Any]:
    """A recipe that no test changes."""
    return TEXT


@pytest.fixture
def text_recipe() -> dict[str, Any]:
    """A recipe of the test's own."""
    return copy.deepcopy(TEXT)


@pytest.fixture
def image_recipe() -> dict[str, Any]:
    """A recipe of the test's own, on images."""
    return copy.deepcopy(IMAGES)
