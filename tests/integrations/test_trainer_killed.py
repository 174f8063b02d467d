import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pipeline

SCRIPT = """
import os, sys
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from pipeline import PruningCallback, Sparsifier

folder, does = sys.argv[1:]

class Dies(TrainerCallback):
    def on_optimizer_step(self, args, state, control, **others):
        if does == "die" and state.global_step == 7:
            os._exit(9)

torch.manual_seed(0)
sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24)
model = BertForSequenceClassification(BertConfig(vocab_size=50, max_position_embeddings=16, **sizes))
tokens = torch.randint(5, 50, (40, 7), generator=torch.Generator().manual_seed(1))
rows = [{"input_ids": ids, "labels": ids[0] % 2} for ids in tokens]
schedule = {"begin": 1, "end": 9, "every": 2}
pruner = Sparsifier(model, {"sparsity": 0.8, "pattern": "4x1", "schedule": schedule}, num_steps=10)
arguments = TrainingArguments(
    folder, max_steps=10, per_device_train_batch_size=4, learning_rate=1e-2, save_steps=3, report_to="none",
    use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
)
trainer = Trainer(model, arguments, train_dataset=rows, callbacks=[PruningCallback(pruner), Dies()])
trainer.train(resume_from_checkpoint=does == "resume")
torch.save({"pruner": pruner.state_dict(), "model": model.state_dict()}, f"{folder}/end.pt")
"""


@pytest.mark.slow
def test_a_trainer_whose_process_dies_goes_on_to_the_same_masks_scores_and_weights(tmp_path):
    root = Path(pipeline.__file__).parent.parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}

    def run(folder, does):
        return subprocess.run([sys.executable, "-c", SCRIPT, str(folder), does], env=environment).returncode

    assert run(tmp_path / "whole", "train") == 0
    assert run(tmp_path / "again", "die") == 9
    assert run(tmp_path / "again", "resume") == 0
    whole, again = (torch.load(tmp_path / folder / "end.pt") for folder in ("whole", "again"))
    for part in ("pruner", "model"):
        assert all(torch.equal(tensor, again[part][name]) for name, tensor in whole[part].items())
    assert any(name.startswith("scores.") for name in whole["pruner"])
