"""A finished run of three layers as files alone, its scores known: no model is trained for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.artifacts import Run
from pipeline.artifacts.manifest import Manifest, file_digests
from pipeline.surgery.keep_plan import KeepPlan, Kept

LAYERS, HEADS, CHANNELS, STEPS, ROUNDS = 3, 4, 10, 40, 2
HEADS_KEPT = ((0, 1, 3), (2,), ())
CHANNELS_KEPT = ((0, 1, 2, 3, 4), (9,), (2, 4, 6))
SECOND_KEPT = ((0, 2), (0,))
"""Of the second cut of heads, which counts in what the first one left; layer 2 has none left."""
RECIPE = """\
name: made
seed: 11
model: {config: {model_type: bert}}
task:
  {type: text-classification, dataset: {builtin: grammar}, validation: [validation, heldout], metric: [accuracy, f1]}
training: {learning_rate: 0.001}
stages:
- {uses: finetune, name: finetune, epochs: 2.0}
- {uses: prune_heads, name: prune_heads, sparsity: 0.5}
- {uses: distill, name: recover, epochs: 1.0}
- {uses: prune_ffn, name: prune_ffn, sparsity: 0.7}
- {uses: prune_heads, name: again, sparsity: 0.25, criterion: l1}
"""


def head_scores():
    """Return the final score of each head, ``(layers, heads)``: those removed are the lowest."""
    return np.array(
        [[0.5 + 0.1 * head if head in kept else -1.0 - 0.1 * head for head in range(HEADS)] for kept in HEADS_KEPT]
    )


def movement():
    """Return the tensors of a movement stage with square blocks, two slices to a head; o decides the head's score."""
    tensors = {"history.steps": np.array([STEPS // 2, STEPS], dtype=np.int64)}
    for layer, scores in enumerate(head_scores()):
        for name in ("query", "key", "value", "output"):
            final = np.repeat(scores if name == "output" else np.full(HEADS, 5.0), 2)[:, None] + np.array([0.0, -7.0])
            final[1::2] -= 3.0
            path = f"bert.encoder.layer.{layer}.attention.{name}"
            tensors[f"history.{path}"] = np.stack([final / 2, final]).astype(np.float32)
            tensors[f"scores.{path}"] = final.astype(np.float32)
    return tensors


def taylor():
    """Return the importances of two rounds: what the first one removed is zero in the second."""
    tensors = {"importances.rounds": np.arange(1, ROUNDS + 1)}
    for layer, kept in enumerate(CHANNELS_KEPT):
        first = np.linspace(1.0, 2.0, CHANNELS) * 10.0**-layer
        second = np.array([first[unit] * 3 if unit in kept else 0.0 for unit in range(CHANNELS)])
        tensors[f"importances.encoder.{layer}.channels"] = np.stack([first, second]).astype(np.float32)
    return tensors


def norms():
    return {
        "importances.rounds": np.array([1]),
        "importances.encoder.0.heads": np.array([[3.0, 1.0, 2.0]], dtype=np.float32),
        "importances.encoder.1.heads": np.array([[4.0]], dtype=np.float32),
    }


def plan(kind, kept, sizes):
    return KeepPlan(
        {
            f"encoder.{layer}.{kind}": Kept(of, tuple(units))
            for layer, (units, of) in enumerate(zip(kept, sizes, strict=True))
        }
    )


HEADS_PLAN = plan("heads", HEADS_KEPT, [HEADS] * LAYERS)
CHANNELS_PLAN = plan("channels", CHANNELS_KEPT, [CHANNELS] * LAYERS)
SECOND_PLAN = plan("heads", SECOND_KEPT, [3, 1])


@dataclass(frozen=True)
class Files:
    """What an artifact holds beside its manifest."""

    own: KeepPlan | None = None
    total: KeepPlan | None = None
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    log: Sequence[Mapping[str, float]] = ()

    def write(self, folder):
        (folder / "model").mkdir(parents=True)
        for name, kept in (("keep_plan.json", self.own), ("total_keep_plan.json", self.total)):
            if kept is not None:
                (folder / name).write_text(json.dumps(kept.to_json()))
        if self.tensors:
            save_file(self.tensors, folder / "scores.safetensors")
        if self.weights:
            save_file(self.weights, folder / "model" / "model.safetensors")
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.log))


def put(folder, uses, accuracy, files, *, parent=None, told=None, **metrics):
    """Write the artifact of a stage into ``folder``, which is called by its number and name."""
    files.write(folder)
    stage = folder.name.partition("-")[2]
    measured = {
        "validation/accuracy": accuracy,
        "heldout/accuracy": accuracy - 0.01,
        "validation/f1": accuracy / 2,
        **metrics,
    }
    details = {"steps": STEPS, "seconds": 20.0, "prune_begin_step": 10, "prune_end_step": 30, **(told or {})}
    manifest = Manifest(
        stage, uses, 1, "f", {}, {"parent": {"stage": parent, "content": "c"}}, file_digests(folder), measured,
        details, {"torch": "2.13.0"}, 25.0, "now",
    )  # fmt: skip
    (folder / "manifest.json").write_bytes(manifest.to_bytes())


def costs(share, speedup):
    sizes = {
        "parameters": 2000.0,
        "encoder_parameters": 1000.0,
        "macs": 5e6,
        "size_bytes": 8000.0,
        "size_gzip_bytes": 7000.0,
    }
    found = {name: value * share for name, value in sizes.items()} | {
        "encoder_sparsity": 1.0 - share,
        "latency_threads": 2.0,
    }
    for size in (1, 8, 32):
        found |= {
            f"latency_b{size}_ms": size / speedup,
            f"latency_b{size}_p95_ms": 1.5 * size / speedup,
            f"speedup_b{size}": speedup,
        }
    return found


def make_run(folder):
    log = [{"step": step, "loss": 2.0 / step} for step in range(10, STEPS + 1, 10)]
    pruning = [{**line, "heads_removed": line["step"] / 100, "blocks_masked": 0.5} for line in log]
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    evaluated = [*log[:2], {"step": 20, "validation/accuracy": 0.7, "heldout/accuracy": 0.6}, *log[2:]]
    put(folder / "01-finetune", "finetune", 0.9, Files(log=evaluated), **costs(1.0, 1.0))
    heads = Files(HEADS_PLAN, HEADS_PLAN, movement(), log=pruning)
    cut = {"before_cut/validation/accuracy": 0.85}
    put(folder / "02-prune_heads", "prune_heads", 0.8, heads, parent="finetune", **costs(0.8, 1.25), **cut)
    recovered = Files(total=HEADS_PLAN, log=log)
    put(folder / "03-recover", "distill", 0.88, recovered, parent="prune_heads", **costs(0.8, 1.25))
    both = HEADS_PLAN.then(CHANNELS_PLAN)
    channels = Files(CHANNELS_PLAN, both, taylor(), log=log)
    put(folder / "04-prune_ffn", "prune_ffn", 0.86, channels, parent="recover", **costs(0.4, 2.0))
    again = Files(SECOND_PLAN, both.then(SECOND_PLAN), norms(), log=log)
    put(folder / "05-again", "prune_heads", 0.85, again, parent="prune_ffn", **costs(0.35, 2.5))
    return Run(folder)


SPARSE_RECIPE = RECIPE.partition("- {uses: prune_heads")[0] + "- {uses: sparsify, name: thin, pattern: 2x1}\n"
ALIKE = ("attention.query", "output.dense")


def sparse_weights():
    """Return by layer name a weight of 60 outputs by 4 inputs, of layer 0 one column zero, of layer 1 three."""
    weights = {}
    for layer in range(2):
        for index, kind in enumerate(ALIKE):
            weight = np.arange(1, 241, dtype=np.float32).reshape(60, 4) + index
            weight[:, : 1 + 2 * layer] = 0.0
            weights[f"bert.encoder.layer.{layer}.{kind}"] = weight
    return weights | {"head": np.ones((2, 4), dtype=np.float32)}


def make_sparse_run(folder):
    """Write a run of a dense stage and one that made weights zero."""
    log = [{"step": step, "loss": 1.0, "weights_removed": step / 80} for step in range(10, STEPS + 1, 10)]
    folder.mkdir()
    (folder / "recipe.yaml").write_text(SPARSE_RECIPE)
    put(folder / "01-finetune", "finetune", 0.9, Files(log=[{"step": 10, "loss": 1.0}]), **costs(1.0, 1.0))
    weights = sparse_weights()
    layers = {
        name: {
            "type": "Linear",
            "parameter": f"{name}.weight",
            "shape": list(weight.shape),
            "sparsity": float((weight == 0).mean()),
        }
        for name, weight in weights.items()
    }
    counted = {
        "weights_touched": 968.0, "weight_sparsity": 0.5, "matmul_sparsity": 0.4, "blocks": 484.0,
        "blocks_removed": 242.0, "gzip_ratio": 1.8,
    }  # fmt: skip
    thin = Files(weights={f"{name}.weight": weight for name, weight in weights.items()}, log=log)
    told = {"layers": layers, "schedule": [[0, 0.0], [40, 0.5]]}
    put(folder / "02-thin", "sparsify", 0.8, thin, parent="finetune", told=told, **costs(1.0, 1.0), **counted)
    return Run(folder)


@pytest.fixture
def sparse_run(tmp_path):
    """A run whose last stage made weights zero."""
    return make_sparse_run(tmp_path / "sparse")


@pytest.fixture(scope="session")
def made_run(tmp_path_factory):
    """The run, which no test changes."""
    return make_run(tmp_path_factory.mktemp("made") / "made")


@pytest.fixture
def own_run(tmp_path):
    """The same run, the test's own."""
    return make_run(tmp_path / "made")
