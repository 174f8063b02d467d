import json
import os
import time
from pathlib import Path

import pytest

from pipeline.recipe.sources import DatasetSource, ModelSource, TaskSource
from pipeline.tasks import build_task

DATA = Path(os.environ.get("PRUNELINE_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not here; set PRUNELINE_DATA")


def task_of(files, **fields):
    dataset = DatasetSource(path="json", data_files={split: str(DATA / file) for split, file in files.items()})
    model = ModelSource(config={"model_type": "bert", "vocab_size": 4000})
    source = TaskSource(type="text-classification", dataset=dataset, **fields)
    return build_task(source, model=model, processor_dir=None, seed=0)


def test_sst2_is_encoded_in_seconds_and_batched_in_under_a_millisecond():
    files = {"train": "sst2/train_20k.jsonl", "validation": "sst2/validation.jsonl", "heldout": "sst2/heldout.jsonl"}
    started = time.process_time()
    task = task_of(files, text="sentence", validation=["validation", "heldout"])
    assert task.train.lengths.sum() > 20_000
    assert time.process_time() - started < 20
    assert [len(split) for split in task.validation.values()] == [872, 6735]
    started = time.process_time()
    for row in range(0, 3200, 32):
        task.train.batch(range(row, row + 32))
    assert (time.process_time() - started) / 100 < 1e-3


def test_pairs_of_rte_keep_both_texts_and_their_labels():
    task = task_of({"train": "rte/train.jsonl", "validation": "rte/validation.jsonl"}, text=["sentence1", "sentence2"])
    batch = task.validation["validation"].batch(range(277))
    assert batch["token_type_ids"].max() == 1
    with open(DATA / "rte" / "validation.jsonl", encoding="utf-8") as file:
        assert batch["labels"].tolist() == [json.loads(line)["label"] for line in file]


def test_stsb_is_a_regression():
    files = {"train": "stsb/train.jsonl", "validation": "stsb/validation.jsonl"}
    task = task_of(files, text=["sentence1", "sentence2"], regression=True, metric=["pearson", "spearman"])
    values = task.validation["validation"].batch(range(1500))["labels"]
    assert values.dtype.is_floating_point
    assert 0 <= values.min() < values.max() <= 5
    assert task.score(values.tolist(), values.tolist()) == {"pearson": pytest.approx(1), "spearman": pytest.approx(1)}
