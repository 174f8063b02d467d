"""A text task over a few rows."""

import json

import pytest

from pipeline.recipe.sources import DatasetSource, ModelSource, TaskSource
from pipeline.tasks import build_task

SCRATCH = ModelSource(config={"model_type": "bert", "vocab_size": 120, "max_position_embeddings": 64})
ROWS = [
    {"text": "a warm film", "other": "b", "label": 1},
    {"text": "dull", "other": "a dull and noisy plot", "label": 0},
    {"text": "a clever , moving and honest ending", "other": "c d", "label": 1},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def make(tmp_path):
    def make(train=ROWS, validation=ROWS, /, *, model=SCRATCH, processor_dir=None, seed=0, **fields):
        files = {"train": write(tmp_path / "train.jsonl", train), "validation": write(tmp_path / "v.jsonl", validation)}
        options = {"type": "text-classification", "text": "text", "max_length": 32, **fields}
        options.setdefault("dataset", DatasetSource(path="json", data_files=files))
        return build_task(TaskSource(**options), model=model, processor_dir=processor_dir, seed=seed)

    return make
