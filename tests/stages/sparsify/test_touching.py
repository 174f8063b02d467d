import pytest
import torch

from pipeline import api
from pipeline.errors import RecipeError
from pipeline.forecast.listing import forecast_lines
from stages.sparsify import SparsifyConfig
from stages.sparsify.touching import touched_lines

LAYER = "bert.encoder.layer.{0…1}"


def test_layers_and_weights_are_told_by_kind(small_bert):
    config = SparsifyConfig(
        pattern="8x1", sparsity=0.75, groups=[{"include": ["query", "key"], "pattern": "2:4", "sparsity": 0.5}]
    )
    with torch.device("meta"):
        model = small_bert(intermediate_size=20)
    assert touched_lines(config, model) == [
        "groups[0]: touches 1,024 weights in 4 layers, makes 512 zero (0.5, pattern 2:4, snip_momentum)",
        f"  {LAYER}.attention.self.query  2 × (16 × 16)",
        f"  {LAYER}.attention.self.key  2 × (16 × 16)",
        "touches 1,664 weights in 6 layers, makes 1,248 zero (0.75, pattern 8x1, snip_momentum)",
        f"  {LAYER}.attention.self.value  2 × (16 × 16)",
        f"  {LAYER}.attention.output.dense  2 × (16 × 16)",
        f"  {LAYER}.output.dense  2 × (16 × 20)",
        f"  stays dense, 8x1 does not divide it: {LAYER}.intermediate.dense  2 × (20 × 16)",
    ]


def test_what_chooses_nothing_says_so(small_bert):
    assert touched_lines(SparsifyConfig(enabled=False), small_bert()) == ["touches nothing: enabled is false"]
    lines = touched_lines(SparsifyConfig(pattern_lock=True, layers={"include": ["classifier"]}), small_bert())
    assert lines == ["touches 32 weights in 1 layer, keeps the zeros there are", "  classifier  (2 × 16)"]


def test_embeddings_that_the_criterion_spoils_are_told_of_before_anything_runs(small_bert):
    layers = {"types": ["Embedding"], "include": ["word"]}
    *_, last = touched_lines(SparsifyConfig(layers=layers), small_bert())
    assert last.startswith("snip_momentum drops rare rows of these embeddings")
    assert ": bert.embeddings.word_embeddings; give" in last
    assert not any(
        "drops" in line for line in touched_lines(SparsifyConfig(layers=layers, criterion="magnitude"), small_bert())
    )


RECIPE = {
    "name": "tiny",
    "model": {
        "config": {
            "model_type": "bert",
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 32,
        }
    },
    "task": {"type": "text-classification", "dataset": {"builtin": "grammar", "rows": 16}, "text": "text"},
    "stages": [
        {"uses": "prune_heads", "sparsity": 0.5},
        {"uses": "sparsify", "pattern": "4x1", "sparsity": 0.75, "layers": {"include": ["output.dense"]}},
    ],
}


def forecast(tmp_path, **changes):
    recipe = {**RECIPE, "stages": [RECIPE["stages"][0], {**RECIPE["stages"][1], **changes}]}
    return api.forecast(api.plan(recipe, runs_dir=tmp_path))


def test_plan_shows_what_is_touched_of_the_model_as_it_will_be(tmp_path):
    rows = forecast(tmp_path)
    assert [bool(row.notes) for row in rows] == [False, False, True]
    shown = forecast_lines(rows)
    assert shown[shown.index("sparsify") :] == [
        "sparsify",
        "  touches 1,280 weights in 4 layers, makes 960 zero (0.75, pattern 4x1, snip_momentum)",
        f"    {LAYER}.attention.output.dense  2 × (16 × 8)",
        f"    {LAYER}.output.dense  2 × (16 × 32)",
        "    (widths that training sets are shown as if every layer kept as many)",
    ]


def test_plan_refuses_settings_that_do_not_fit_the_model(tmp_path):
    with pytest.raises(RecipeError, match=r"stages\.sparsify\.pattern: must divide at least one layer"):
        forecast(tmp_path, pattern="5x1")
