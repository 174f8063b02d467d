"""Each shipped recipe runs to its end with its model and data replaced through ``--set``, and nothing else about it."""

import pytest

from pipeline.api import run
from pipeline.recipe import shipped_recipes

TINY_BERT = (
    "{config: {model_type: bert, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 32}}"
)
TINY_VIT = (
    "{config: {model_type: vit, image_size: 8, patch_size: 4, num_channels: 1, hidden_size: 16, num_hidden_layers: 2, "
    "num_attention_heads: 4, intermediate_size: 32}}"
)
GRAMMAR = ("task.dataset={builtin: grammar, rows: 40}", f"model={TINY_BERT}", "task.max_length=32")
ONE_TEXT = (*GRAMMAR, "task.text=text")
REPLACED = {
    "quickstart": (f"model={TINY_VIT}", "task.train_rows=40", "task.validation_rows=20"),
    "bert-base-mnli": (*GRAMMAR, "task.text=[text, other]", "task.label=better", "task.validation=validation"),
    "bert-base-sst2": ONE_TEXT,
    "minilm-sst2": ONE_TEXT,
    "minilm-sst2-fast": ONE_TEXT,
    "minilm-sst2-sparse": ONE_TEXT,
}
TRIAL = ("stages.*.steps=4", "stages.*.batch_size=8", "training.progress=false", "training.mixed_precision=no")


@pytest.mark.parametrize("name", sorted({*shipped_recipes(), *REPLACED}))
def test_a_shipped_recipe_runs_with_model_and_data_replaced(name, tmp_path):
    finished = run(name, runs_dir=tmp_path, overrides=[*REPLACED[name], *TRIAL])
    assert finished.name == name
    metrics = [finished[stage].metrics for stage in finished.stages]
    assert all("validation/accuracy" in found for found in metrics)
    if name.endswith("-sparse"):
        assert finished.stages == ("finetune", "sparsify")
        assert metrics[-1]["weight_sparsity"] == pytest.approx(0.8, abs=1e-3)
        assert metrics[-1]["size_gzip_bytes"] < metrics[0]["size_gzip_bytes"]
        return
    assert finished.stages == ("finetune", "prune_heads", "recover_heads", "prune_ffn", "recover_ffn")
    assert metrics[-1]["encoder_parameters"] < metrics[0]["encoder_parameters"]
