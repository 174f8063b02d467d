import os
import subprocess
import sys
from pathlib import Path

import torch

import pipeline

SCRIPT = """
import os, sys
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel
from transformers import BertConfig, BertForSequenceClassification
from pipeline import MovementPruner, Sparsifier, TaylorPruner

folder = sys.argv[1]
torch.set_num_threads(1)
PRUNERS = {
    "movement": (MovementPruner, {"sparsity": 0.5, "score_learning_rate": 0.5, "prune_begin": 0, "prune_end": 3}),
    "taylor": (TaylorPruner, {"sparsity": 0.5, "scope": "local", "rounds": 2, "prune_begin": 0, "prune_end": 3}),
    "sparsifier": (Sparsifier, {"sparsity": 0.75, "schedule": {"begin": 0, "end": 3, "every": 1}}),
}
SIZES = dict(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24)

def train(rank, kind, together):
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(max_position_embeddings=16, **SIZES))
    wrapped = DistributedDataParallel(model) if together else model
    build, config = PRUNERS[kind]
    pruner = build(model, config, num_steps=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(rank)
    for step in range(4):
        ids = torch.randint(5, 50, (4, 7))
        wrapped(input_ids=ids, labels=ids[:, 0] % 2).loss.backward()
        pruner.before_optimizer_step(step)
        optimizer.step()
        pruner.after_optimizer_step(step, 1e-2)
        optimizer.zero_grad()
    state = pruner.state_dict()
    pruner.finish()
    return {**state, **{f"model.{name}": tensor for name, tensor in model.state_dict().items()}}

def work(rank):
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    found = {kind: train(rank, kind, True) for kind in PRUNERS}
    torch.save({**found, "apart": train(rank, "sparsifier", False)}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()

workers = [mp.get_context("fork").Process(target=work, args=(rank,)) for rank in range(2)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join(120)
sys.exit(max(abs(worker.exitcode) for worker in workers))
"""


def test_every_process_ends_in_the_same_masks_and_weights(tmp_path):
    root = Path(pipeline.__file__).parent.parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, check=True, timeout=300)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for kind, state in first.items():
        equal = {name for name, tensor in state.items() if torch.equal(tensor, second[kind][name])}
        masks = {name for name in state if name.startswith(("kept.", "alive.", "masked"))}
        assert masks, kind
        if kind == "apart":
            assert masks - equal, "the processes see rows of their own, so without each other they differ"
        else:
            assert state.keys() == equal, kind
