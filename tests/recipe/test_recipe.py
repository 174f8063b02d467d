from dataclasses import replace

import pytest

from pipeline.recipe import load_recipe, shipped_recipes
from stages import STAGES


def test_a_dumped_recipe_reads_back_equal(load, tmp_path):
    recipe = load(
        ("model: some/model", "model: {config: {model_type: bert, pad_token_id: null, label: 'yes', ratio: 1.0}}"),
        ("sparsity: 0.5", "sparsity: 0.5\n    max_grad_norm: null\n    warmup: 0.0\n    distill: {temperature: 4}"),
    )
    (tmp_path / "dump.yaml").write_text(recipe.dump(), "utf-8")
    again = load_recipe(tmp_path / "dump.yaml", stages=STAGES)
    assert again == recipe
    assert again.model.config == {"model_type": "bert", "pad_token_id": None, "label": "yes", "ratio": 1.0}
    assert again.stage("prune_heads").config.max_grad_norm is None
    assert isinstance(again.stage("prune_heads").config.warmup, float)
    assert again.dump() == recipe.dump()


@pytest.mark.parametrize(
    "name", ["po\x85s", "\x85", "a\u2028b", "a\u2029b", " a ", "é", "a\x7fb", "\ufeffa", "a\tb\r\n"]
)
def test_a_text_with_any_character_survives_a_dump(load, tmp_path, name):
    recipe = load()
    task = recipe.task.model_copy(update={"labels": (name, "other")})
    (tmp_path / "dump.yaml").write_bytes(replace(recipe, task=task).dump().encode())
    assert load_recipe(tmp_path / "dump.yaml", stages=STAGES).task.labels == (name, "other")


def test_a_dump_holds_every_training_setting_so_that_later_defaults_change_nothing(load):
    recipe = load()
    document = recipe.document()
    written = {*document["training"], "epochs", "steps"}
    assert set(type(recipe.training).model_fields) <= written
    assert all(
        set(type(stage.config).model_fields) <= {*written, *dumped}
        for stage, dumped in zip(recipe.stages, document["stages"], strict=True)
    )


def test_recipes_differ_in_values_and_not_in_where_they_were_written(load):
    assert load(("seed: 7", "\nseed: 7")) == load()
    assert load(("seed: 7", "seed: 8")) != load()


@pytest.mark.parametrize("name", ["quickstart", "bert-base-mnli", "bert-base-sst2", "minilm-sst2", "minilm-sst2-fast"])
def test_a_shipped_recipe_has_the_five_stages_and_survives_its_dump(name):
    recipe = load_recipe(name, stages=STAGES)
    assert recipe.name == name
    assert [stage.uses for stage in recipe.stages] == ["finetune", "prune_heads", "distill", "prune_ffn", "distill"]
    assert load_recipe(recipe.document(), stages=STAGES) == recipe
    assert name in shipped_recipes()


def test_the_sparse_recipe_ends_with_zeros_and_survives_its_dump():
    recipe = load_recipe("minilm-sst2-sparse", stages=STAGES)
    assert [stage.uses for stage in recipe.stages] == ["finetune", "sparsify"]
    assert load_recipe(recipe.document(), stages=STAGES) == recipe


def test_the_recipe_for_mnli_is_nnis():
    recipe = load_recipe("bert-base-mnli", stages=STAGES)
    assert [stage.config.epochs for stage in recipe.stages] == [3, 4, 3, 3, 3]
    heads, ffn = recipe.stage("prune_heads").config, recipe.stage("prune_ffn").config
    assert (heads.granularity, heads.threshold, heads.prune_begin, heads.prune_end) == ("block", 0.1, 0.25, 0.75)
    assert (ffn.sparsity, ffn.rounds, ffn.form) == ("match_heads", 36, "nni")
    assert {(s.config.batch_size, s.config.learning_rate, s.config.schedule) for s in recipe.stages} == {
        (32, 3e-5, "linear")
    }


def test_the_recipe_for_sst2_is_the_one_for_mnli_on_other_data():
    mnli, sst2 = (load_recipe(name, stages=STAGES) for name in ("bert-base-mnli", "bert-base-sst2"))
    assert sst2.stages == mnli.stages
    assert sst2.task.dataset.name == "sst2"
    assert sst2.task.text == ("sentence",)
    assert sst2.task.validation == ("validation",)
