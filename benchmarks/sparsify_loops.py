"""Small networks in a plain PyTorch loop around ``Sparsifier``: what they score dense and sparse, and how small."""

from __future__ import annotations

import copy
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from sparsify_networks import DigitsNetwork, SentenceNetwork
from sparsify_runs import score_cells, score_headers
from sst2_work import FILES
from torch import Tensor, nn
from torch.nn import functional

from pipeline import Sparsifier
from pipeline.data.generated import digits
from pipeline.reporting.layout import MISSING, format_number, markdown_table
from stages.sparsify.zeros import gzip_bytes

Rows = tuple[Tensor, Tensor]
"""Inputs and labels of a split, a row at the same place of both."""
WORD = re.compile(r"[a-z0-9']+|[^\sa-z0-9']")
MOST_WORDS = 3000
LONGEST = 32
DENSE = "dense, trained as long"


@dataclass(frozen=True)
class Trial:
    """A pattern, a target and a criterion."""

    pattern: str
    sparsity: float
    criterion: str = "snip_momentum"

    def __str__(self) -> str:
        return f"{self.pattern}, {self.criterion}, at {self.sparsity:g}"

    def settings(self, types: Sequence[str]) -> dict[str, Any]:
        """Return what the ``Sparsifier`` is given: every weight of ``types``, the last layer's too."""
        schedule = {"kind": "polynomial", "begin": 0.0, "end": 0.7, "every": 10}
        layers = {"types": types, "exclude": []}
        own = {"sparsity": self.sparsity, "pattern": self.pattern, "criterion": self.criterion}
        return {**own, "schedule": schedule, "layers": layers}


@dataclass(frozen=True)
class LoopWork:
    """A network, its rows and how it is trained: ``epochs`` dense, then as many again while it is sparsified."""

    build: Callable[[], nn.Module]
    train: Rows
    tests: Mapping[str, Rows]
    types: Sequence[str]
    epochs: int
    batch_size: int
    learning_rate: float

    @property
    def num_steps(self) -> int:
        """The optimizer steps of one training."""
        return self.epochs * math.ceil(len(self.train[1]) / self.batch_size)


@dataclass(frozen=True)
class Trained:
    """What a training came to: scores by split in [0, 1], share of zeros in the weights touched, bytes and seconds."""

    scores: Mapping[str, float]
    zeros: float
    gzip_bytes: int
    seconds: float


def digits_work(epochs: int | None = None) -> LoopWork:
    """Return the work on scikit-learn's 8×8 digits."""
    splits = {}
    for name, split in digits().items():
        pixels = [torch.from_numpy(np.array(image)).view(1, 8, 8) for image in split["image"]]
        splits[name] = (torch.stack(pixels) / 255 - 0.3, torch.tensor(list(split["label"])))
    return LoopWork(
        DigitsNetwork,
        splits["train"],
        {"validation": splits["validation"]},
        types=("Conv2d", "Linear"),
        epochs=10 if epochs is None else epochs,
        batch_size=32,
        learning_rate=2e-3,
    )


def lstm_work(data: Path, num_rows: int, epochs: int | None = None) -> LoopWork:
    """Return the work on the first rows of SST-2, with the words that these have most of."""
    sentences = {split: _sentences(data / FILES[split]) for split in ("train", "heldout", "validation")}
    train = sentences["train"][:num_rows]
    counts = Counter(word for words, _ in train for word in words)
    places = {word: place + 2 for place, (word, _) in enumerate(counts.most_common(MOST_WORDS))}
    return LoopWork(
        lambda: SentenceNetwork(len(places) + 2),
        _encoded(train, places),
        {split: _encoded(sentences[split], places) for split in ("heldout", "validation")},
        types=("Embedding", "LSTM", "Linear"),
        epochs=4 if epochs is None else epochs,
        batch_size=50,
        learning_rate=2e-3,
    )


def _sentences(path: Path) -> list[tuple[list[str], int]]:
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [(WORD.findall(row["sentence"].lower()), row["label"]) for row in rows]


def _encoded(rows: Sequence[tuple[list[str], int]], places: Mapping[str, int]) -> Rows:
    """Return ``(rows, LONGEST)`` places of words, 0 beyond a sentence's end and 1 for a word unknown, and labels."""
    ids = torch.zeros(len(rows), LONGEST, dtype=torch.long)
    for row, (words, _) in enumerate(rows):
        for column, word in enumerate(islice(words, LONGEST)):
            ids[row, column] = places.get(word, 1)
    return ids, torch.tensor([label for _, label in rows])


def loop_tables(work: LoopWork, trials: Sequence[Trial], seeds: Sequence[int]) -> list[str]:
    """Train the dense network of every seed, go on from it with each trial and with none, and return the tables."""
    found: dict[Trial | None, list[Trained]] = {trial: [] for trial in (None, *trials)}
    for seed in seeds:
        torch.manual_seed(seed)
        dense = work.build()
        train(dense, work, None, seed=seed)
        for trial, results in found.items():
            model = copy.deepcopy(dense)
            results.append(train(model, work, trial, seed=seed + 1000))
            print(f"seed {seed}, {DENSE if trial is None else trial}: {results[-1]}", flush=True)
    return [_setting(work), _table(work, found)]


def train(model: nn.Module, work: LoopWork, trial: Trial | None, *, seed: int) -> Trained:
    """Train ``model`` in place, sparsifying if there is a trial, and return what it came to."""
    settings = {"enabled": False} if trial is None else trial.settings(work.types)
    pruner = Sparsifier(model.train(), settings, num_steps=work.num_steps)
    optimizer = torch.optim.AdamW(model.parameters(), lr=work.learning_rate, weight_decay=0.0)
    (inputs, labels), generator = work.train, torch.Generator().manual_seed(seed)
    begin, step = time.perf_counter(), 0
    for _ in range(work.epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(work.batch_size):
            lr = work.learning_rate * (1 - step / work.num_steps)
            for group in optimizer.param_groups:
                group["lr"] = lr
            functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            pruner.before_optimizer_step(step)
            optimizer.step()
            pruner.after_optimizer_step(step, lr)
            optimizer.zero_grad()
            step += 1
    pruner.finish()
    seconds = time.perf_counter() - begin
    scores = {split: accuracy(model, rows) for split, rows in work.tests.items()}
    zeros = pruner.logs().get("weights_removed", 0.0)
    return Trained(scores, zeros, gzip_bytes(model), seconds)


@torch.no_grad()
def accuracy(model: nn.Module, rows: Rows) -> float:
    """Return the share of rows whose label the model finds."""
    model.eval()
    inputs, labels = rows
    guesses = torch.cat([model(part).argmax(1) for part in inputs.split(500)])
    return (guesses == labels).float().mean().item()


def _setting(work: LoopWork) -> str:
    weights = sum(parameter.numel() for parameter in work.build().parameters())
    return (
        f"{weights:,} parameters, {len(work.train[1]):,} training rows, {work.epochs} epochs dense and then "
        f"{work.epochs} with a pruner, learning rate {work.learning_rate:g} falling to 0 in each; a "
        "polynomial schedule up to 0.7 of the steps; all weights are touched but biases. What is lost, and the gzip "
        "ratio, are against the dense network that went on as long."
    )


def _table(work: LoopWork, found: Mapping[Trial | None, Sequence[Trained]]) -> str:
    dense, rows = found[None], []
    for trial, results in found.items():
        cells = [DENSE, MISSING] if trial is None else [f"{trial.pattern}, {trial.criterion}", f"{trial.sparsity:.1%}"]
        cells += [f"{fmean(each.zeros for each in results):.2%}", str(len(results))]
        for split in work.tests:
            scored = score_cells([each.scores[split] for each in results], [each.scores[split] for each in dense])
            cells += scored if trial is not None else [*scored[:2], MISSING, MISSING]
        ratios = [before.gzip_bytes / after.gzip_bytes for before, after in zip(dense, results, strict=True)]
        cells += [format_number(fmean(ratios)), f"{fmean(each.seconds for each in results):.0f}"]
        rows.append(cells)
    headers = ["pattern and criterion", "asked", "zeros", "seeds", *score_headers(list(work.tests))]
    return markdown_table([*headers, "gzip ratio", "seconds"], rows)
