import json
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from ruamel.yaml import YAML

from pipeline.recipe import ModelSource, Recipe, StageRecipe, TaskSource, TrainingConfig
from pipeline.reporting.model_card import card_metadata, write_card
from pipeline.surgery.keep_plan import KeepPlan, Kept
from stages.finetune.config import FinetuneConfig
from stages.prune_heads.config import PruneHeadsConfig
from stages.sparsify.config import SparsifyConfig

PLAN = KeepPlan({"encoder.0.heads": Kept(4, (1, 2)), "encoder.1.heads": Kept(4, ())})
METRICS = {
    "validation/accuracy": 0.847261,
    "heldout/accuracy": 0.9,
    "before_cut/validation/accuracy": 0.5,
    "encoder_sparsity": 0.251,
    "parameters": 22_713_216,
    "latency_b1_ms": 12.3,
    "speedup_b1": 1.5,
}
CONDENSED = {"model_type": "condensed-bert", "auto_map": {"AutoConfig": "modeling_condensed_bert.CondensedBertConfig"}}


def make_recipe(model="google-bert/bert-base-uncased", dataset=None):
    return Recipe(
        name="tiny",
        seed=1,
        model=ModelSource.model_validate(model),
        task=TaskSource(
            type="text-classification",
            dataset=dataset or {"path": "nyu-mll/glue", "name": "mnli"},
            text=("premise", "hypothesis"),
            validation=("validation", "heldout"),
        ),
        training=TrainingConfig(epochs=1),
        stages=(
            StageRecipe("finetune", "finetune", FinetuneConfig(epochs=1)),
            StageRecipe("prune_heads", "cut", PruneHeadsConfig(epochs=2, sparsity=0.5, distill={"temperature": 3.0})),
        ),
    )


def card(folder, config=CONDENSED, **changes):
    (folder / "config.json").write_text(json.dumps(config))
    facts = {"recipe": make_recipe(), "stage": "cut", "metrics": METRICS, "keep_plan": PLAN}
    facts |= {"auto_model": "AutoModelForSequenceClassification", "environment": {"torch": "2.13.0"}}
    return write_card(folder, **facts | changes).read_text(encoding="utf-8")


def test_the_hub_reads_the_card_and_its_scores(tmp_path):
    read = ModelCard(card(tmp_path)).data
    assert read.library_name == "transformers"
    assert read.pipeline_tag == "text-classification"
    assert read.base_model == "google-bert/bert-base-uncased"
    assert read.datasets == ["nyu-mll/glue"]
    assert read.tags == ["pruneline", "pruned", "condensed-bert"]
    scores = [(r.dataset_config, r.dataset_split, r.metric_type, r.metric_value) for r in read.eval_results]
    assert scores == [("mnli", "validation", "accuracy", 0.8473), ("mnli", "heldout", "accuracy", 0.9)]
    assert read.model_name == "tiny-cut"


def test_the_card_names_splits_and_metrics_with_a_slash_in_full(tmp_path):
    recipe = make_recipe()
    recipe = replace(recipe, task=recipe.task.model_copy(update={"validation": ("val/a",)}))
    text = card(tmp_path, recipe=recipe, metrics={"val/a/org/my_score": 0.25})
    assert "| val/a org/my_score | 0.2500 |" in text
    (result,) = ModelCard(text).data.eval_results
    assert (result.dataset_split, result.metric_type, result.metric_value) == ("val/a", "org/my_score", 0.25)


@pytest.mark.parametrize("name", ["no", "2:4", "1_000", "1e3", 'a "quoted" \\ name', "null", "- x: y # z"])
def test_the_front_matter_means_the_same_to_yaml_1_1_and_1_2(tmp_path, name):
    recipe = make_recipe(dataset={"path": "nyu-mll/glue", "name": name})
    text = card(tmp_path, recipe=recipe)
    assert YAML(typ="safe", pure=True).load(text.split("---\n")[1]) == card_metadata(recipe, "cut", METRICS, CONDENSED)
    assert ModelCard(text).data.eval_results[0].dataset_config == name


def test_what_is_local_is_not_named_as_if_the_hub_had_it(tmp_path):
    (tmp_path / "model").mkdir()
    recipe = make_recipe(str(tmp_path / "model"), {"path": "json", "data_files": {"train": "secret/a.jsonl"}})
    text = card(tmp_path, recipe=recipe)
    data = ModelCard(text).data
    assert data.base_model is None
    assert data.datasets is None
    assert data.eval_results[0].dataset_name == "local data"
    assert str(tmp_path) not in text
    assert "secret" not in text


def test_a_model_from_a_config_and_generated_data_says_so(tmp_path):
    text = card(tmp_path, recipe=make_recipe({"config": {"model_type": "bert"}}, {"builtin": "grammar"}))
    assert "Made from a new bert on grammar (generated or bundled) by the stages finetune → cut." in text
    assert ModelCard(text).data.eval_results[0].dataset_type == "grammar"


def test_the_card_tells_every_layer_and_the_settings_of_the_stages(tmp_path):
    text = card(tmp_path)
    assert "| encoder 0 | 2 of 4 | – |\n| encoder 1 | 0 of 4 | – |" in text
    assert "* finetune: epochs 1, learning_rate 3e-05, batch_size 32\n" in text
    assert "* cut (prune_heads): epochs 2, " in text
    assert "sparsity 0.5" in text
    assert "distill (task_weight 0.1, " in text
    assert "temperature 3" in text


def test_the_card_tells_the_numbers_and_what_measured_them(tmp_path):
    text = card(tmp_path)
    for line in ("| validation accuracy | 84.73% |", "| encoder sparsity | 25.1% |", "| speed-up, batch 1 | 1.50× |"):
        assert line in text
    assert "before_cut" not in text
    assert "* torch: 2.13.0" in text
    assert "25.1% of the encoder's parameters removed" in text


def test_a_condensed_model_is_loaded_with_the_flag_or_registered(tmp_path):
    text = card(tmp_path)
    assert 'AutoModelForSequenceClassification.from_pretrained("path/to/this/folder", trust_remote_code=True)' in text
    assert "register_models()\nmodel = AutoModelForSequenceClassification.from_pretrained" in text
    assert "AutoTokenizer.from_pretrained" in text


def test_a_dense_model_needs_no_flag_and_claims_no_cut(tmp_path):
    dense = {"validation/accuracy": 0.9, "encoder_sparsity": 0.0}
    text = card(tmp_path, {"model_type": "bert"}, stage="finetune", metrics=dense, keep_plan=None)
    assert "trust_remote_code" not in text
    assert "nothing is cut yet" in text
    assert "Nothing: every head and channel" in text
    assert ModelCard(text).data.tags == ["pruneline", "dense", "bert"]


def test_a_score_without_a_value_stays_out_of_the_model_index(tmp_path):
    text = card(tmp_path, metrics={"validation/matthews": float("nan")})
    assert ModelCard(text).data.eval_results is None


def test_a_sparse_model_is_told_of_its_zeros_and_the_groups_they_are_in(tmp_path):
    groups = [{"include": ["query"], "pattern": "2:4"}]
    config = SparsifyConfig(epochs=1, sparsity=0.5, pattern="4x1", groups=groups)
    recipe = replace(make_recipe(), stages=(StageRecipe("sparsify", "cut", config),))
    metrics = {"weight_sparsity": 0.5, "matmul_sparsity": 0.45, "encoder_sparsity": 0.0}
    text = card(tmp_path, recipe=recipe, metrics=metrics, keep_plan=None, config={"model_type": "bert"})
    assert ModelCard(text).data.tags == ["pruneline", "sparse", "bert"]
    assert "nothing is cut out.\nOf the weights that were to be made sparse 50.0% are zero.\n" in text
    assert "| zeros in all matrix weights | 45.0% |" in text
    assert "groups (include ('query',), pattern 2:4)" in text
    assert "yet" in card(tmp_path, recipe=recipe, metrics={}, keep_plan=None, config={"model_type": "bert"})
