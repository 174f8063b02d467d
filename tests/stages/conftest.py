"""A tiny task and tiny models: everything a stage may touch, in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.stage import StageContext
from pipeline.surgery.groups import Producer, PruningGroup
from pipeline.training.metrics_log import MetricsLog
from pipeline.training.stepper import Stepper

VOCABULARY, LONGEST, NUM_ROWS = 40, 12, 40


class Rows:
    """Rows of random tokens whose label is whether the first real token is in the lower half of the vocabulary."""

    def __init__(self, name, num_rows, seed):
        generator = np.random.default_rng(seed)
        self.name = name
        self.lengths = generator.integers(4, LONGEST + 1, num_rows)
        self.tokens = [generator.integers(2, VOCABULARY, length) for length in self.lengths]

    def __len__(self):
        return len(self.tokens)

    def batch(self, rows):
        longest = max(len(self.tokens[row]) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask = torch.zeros(len(rows), longest, dtype=torch.int64)
        for index, row in enumerate(rows):
            ids[index, : self.lengths[row]] = torch.tensor(self.tokens[row])
            mask[index, : self.lengths[row]] = 1
        labels = torch.tensor([int(self.tokens[row][0] < VOCABULARY // 2) for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class TinyTask:
    name = "tiny"
    auto_model = "AutoModelForSequenceClassification"
    select = None

    def __init__(self):
        self.train = Rows("train", NUM_ROWS, seed=0)
        self.validation = {"validation": Rows("validation", 16, seed=1)}

    def logits(self, outputs):
        return (outputs.logits,)

    def is_regression(self):
        return False

    def token_mask(self, batch):
        return batch["attention_mask"].bool()

    def predictions(self, outputs, batch):
        return outputs.logits.argmax(-1).tolist(), batch["labels"].tolist()

    def score(self, predictions, references):
        return {"accuracy": float(np.mean(np.array(predictions) == np.array(references)))}

    def main_metric(self):
        return "accuracy"

    def greater_is_better(self):
        return True


def tiny_bert(seed=0, **changes):
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "max_position_embeddings": LONGEST,
        "num_labels": 2,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BertForSequenceClassification(BertConfig(**{**sizes, **changes})).eval()


@pytest.fixture
def task():
    return TinyTask()


@pytest.fixture
def make_context(tmp_path, task):
    """Return a function from a config to a context; the model and the teacher may be given."""

    def make(config, *, model=None, teacher=None, name="tiny", **fields):
        return StageContext(
            name=name,
            config=config,
            task=task,
            work_dir=tmp_path / name,
            seed=3,
            log=MetricsLog(tmp_path / f"{name}.jsonl"),
            load_model=(lambda: tiny_bert()) if model is None else (lambda: model),
            load_teacher=lambda: teacher,
            **fields,
        )

    return make


class Attention(nn.Module):
    """Linear attention with q, k, v and o: enough for gradients to reach all four weights."""

    def __init__(self, width, num_heads, head_dim):
        super().__init__()
        inner = num_heads * head_dim
        self.num_heads = num_heads
        self.q, self.k, self.v = (nn.Linear(width, inner) for _ in range(3))
        self.o = nn.Linear(inner, width)

    def heads(self, x):
        q, k, v = (part(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        return (torch.softmax(q @ k.transpose(-1, -2), dim=-1) @ v).transpose(1, 2).flatten(2)

    def forward(self, x):
        return x + self.o(self.heads(x))


class Ffn(nn.Module):
    def __init__(self, width, channels):
        super().__init__()
        self.wide = nn.Linear(width, channels)
        self.narrow = nn.Linear(channels, width)

    def forward(self, x):
        return x + self.narrow(torch.nn.functional.gelu(self.wide(x)))


class Layers(nn.Module):
    """Transformer layers by hand, with the groups they are cut along."""

    def __init__(self, num_layers=2, width=8, num_heads=4, head_dim=2, channels=6):
        super().__init__()
        self.attention = nn.ModuleList(Attention(width, num_heads, head_dim) for _ in range(num_layers))
        self.ffn = nn.ModuleList(Ffn(width, channels) for _ in range(num_layers))
        self.num_heads, self.head_dim, self.channels = num_heads, head_dim, channels

    def forward(self, x):
        for attention, ffn in zip(self.attention, self.ffn, strict=True):
            x = ffn(attention(x))
        return x

    def loss(self, x):
        return self(x).square().mean()

    def head_groups(self):
        dim = self.head_dim
        return tuple(
            PruningGroup(
                name=f"encoder.{layer}.heads",
                kind="heads",
                stack="encoder",
                layer=layer,
                producers=tuple(Producer(f"attention.{layer}.{name}", dim) for name in "qkv"),
                consumer=f"attention.{layer}.o",
                unit_size=dim,
                num_units=self.num_heads,
            )
            for layer in range(len(self.attention))
        )

    def channel_groups(self):
        return tuple(
            PruningGroup(
                name=f"encoder.{layer}.channels",
                kind="channels",
                stack="encoder",
                layer=layer,
                producers=(Producer(f"ffn.{layer}.wide", 1),),
                consumer=f"ffn.{layer}.narrow",
                unit_size=1,
                num_units=self.channels,
            )
            for layer in range(len(self.ffn))
        )


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return Layers()


@pytest.fixture
def inputs():
    return torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def run_steps(inputs):
    """Return a function that trains with a pruner as the loop does, and may look at the model after every step."""

    def run(model, pruner, num_steps, *, first=0, optimizer=None, max_norm=1.0, after=lambda step: None):
        optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
        for step in range(first, first + num_steps):
            optimizer.zero_grad()
            model.loss(inputs + 0.1 * step).backward()
            pruner.before_optimizer_step(step)
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            pruner.after_optimizer_step(step, 1e-2)
            after(step)
        return optimizer

    return run


@pytest.fixture
def small_bert():
    return tiny_bert


@pytest.fixture
def dying():
    """Return what makes of ``train`` one that raises ``error`` once the pruner has done the step ``kill_at``."""

    def make(train, error, kill_at):
        def dies(model, *, pruner, **fields):
            step = pruner.after_optimizer_step

            def after(number, lr):
                step(number, lr)
                if number == kill_at:
                    raise error

            pruner.after_optimizer_step = after
            return train(model, pruner=pruner, **fields)

        return dies

    return make


@pytest.fixture
def at_each_step(monkeypatch):
    """Watch training: ``seen = at_each_step(look)`` is the list of what ``look(model)`` gave after each step."""
    step = Stepper.step

    def watch(look):
        seen = []

        def watched(self, *arguments):
            step(self, *arguments)
            seen.append(look(self.job.model))

        monkeypatch.setattr(Stepper, "step", watched)
        return seen

    return watch
