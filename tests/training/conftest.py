import hashlib
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from pipeline import interruption
from pipeline.recipe.training import TrainingConfig
from pipeline.training.loop import task_objective, train
from pipeline.training.metrics_log import MetricsLog


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_signal(monkeypatch):
    monkeypatch.setattr(interruption, "_requested", None)


class FakeSplit:
    """Random tokens of uneven lengths; the label is the parity of the first token."""

    def __init__(self, name, rows, seed=0, fixed_length=None):
        generator = np.random.default_rng(seed)
        self.name = name
        sizes = generator.integers(2, 12, rows) if fixed_length is None else np.full(rows, fixed_length)
        self.tokens = [generator.integers(1, 30, size) for size in sizes]
        self.lengths = sizes.astype(np.int64) if fixed_length is None else None
        self.batches = Counter()

    def __len__(self):
        return len(self.tokens)

    def batch(self, rows):
        self.batches[len(rows)] += 1
        longest = max(len(self.tokens[row]) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            size = len(self.tokens[row])
            ids[i, :size] = torch.from_numpy(self.tokens[row])
            mask[i, :size] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": ids[:, 0] % 2}


class FakeTask:
    name = "fake"
    auto_model = "AutoModelForSequenceClassification"

    def __init__(self, rows=33, select=False, fixed_length=None):
        self.train = FakeSplit("train", rows, 1, fixed_length)
        self.select = FakeSplit("select", 10, 2, fixed_length) if select else None
        self.validation = {"validation": FakeSplit("validation", 10, 3, fixed_length)}

    def predictions(self, outputs, batch):
        return outputs.logits.argmax(-1).tolist(), batch["labels"].tolist()

    def score(self, predictions, references):
        return {"accuracy": float(np.mean(np.equal(predictions, references)))}

    def main_metric(self):
        return "accuracy"

    def greater_is_better(self):
        return True


class FakePruner:
    """Movement on the columns of one weight: a mask that changes, raw weights, scores with momentum."""

    def __init__(self, model):
        self.weight = model.bert.encoder.layer[0].output.dense.weight
        self.raw = self.weight.detach().clone()
        self.scores = torch.zeros(self.weight.shape[1])
        self.momentum = torch.zeros_like(self.scores)
        self.mask = torch.ones_like(self.scores)
        self.steps = []

    def before_optimizer_step(self, step):
        self.steps.append(step)
        gradient = (self.raw * self.weight.grad).sum(0)
        self.momentum = 0.9 * self.momentum + gradient
        self.scores -= self.momentum
        self.weight.grad *= self.mask
        self.weight.data.copy_(self.raw)

    def after_optimizer_step(self, step, lr):
        self.raw = self.weight.detach().clone()
        removed = min(len(self.scores) // 2, (step + 1) // 2)
        self.mask = torch.ones_like(self.scores)
        self.mask[self.scores.argsort()[:removed]] = 0
        self.weight.data.mul_(self.mask)

    def finish(self):
        return None

    def state_dict(self):
        return {"raw": self.raw, "scores": self.scores, "momentum": self.momentum, "mask": self.mask}

    def load_state_dict(self, state):
        self.raw, self.scores, self.momentum, self.mask = (
            state[name] for name in ("raw", "scores", "momentum", "mask")
        )

    def logs(self):
        return {"removed": 1 - float(self.mask.mean())}


def tiny_bert(seed=0, dropout=0.2, vocab_size=30):
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=16,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertForSequenceClassification(config)


def sha256(model):
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def settings(**values):
    defaults = {
        "batch_size": 8,
        "epochs": 3,
        "learning_rate": 1e-2,
        "warmup": 0.1,
        "weight_decay": 0.01,
        "log_every": 2,
        "length_pool": 2,
        "mixed_precision": "no",
        "progress": False,
        "evaluate_every": None,
    }
    return TrainingConfig(**{**defaults, **values})


class Bench:
    """One training in one folder, that can be stopped after a step and run again."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch
        self.log = MetricsLog(folder / "metrics.jsonl")

    def run(self, *, task=None, stop_after=None, pruner=False, objective=task_objective, **values):
        """Train afresh or resume; with ``stop_after`` a signal is pending once that many steps are done."""
        model = tiny_bert()
        task = task or FakeTask()
        self.monkeypatch.setattr(interruption, "_requested", None)
        calls = 0

        def stopping(model, batch):
            nonlocal calls
            calls += 1
            if calls == stop_after:
                self.monkeypatch.setattr(interruption, "_requested", 15)
            return objective(model, batch)

        self.pruner = FakePruner(model) if pruner else None
        self.model = model
        training = train(
            model,
            task=task,
            config=settings(**values),
            objective=stopping,
            pruner=self.pruner,
            seed=7,
            work_dir=self.folder / "work",
            log=self.log,
        )
        return SimpleNamespace(sha256=sha256(model), training=training, log=self.log.lines(), model=model)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


@pytest.fixture
def benches(tmp_path, monkeypatch):
    """Return a function that gives a fresh bench for each name."""
    return lambda name: Bench(tmp_path / name, monkeypatch)


@pytest.fixture
def fakes():
    """Return what tests build their own trainings from."""
    return SimpleNamespace(
        Task=FakeTask, Split=FakeSplit, Pruner=FakePruner, tiny_bert=tiny_bert, sha256=sha256, settings=settings
    )
