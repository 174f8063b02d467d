# ruff: noqa: E501 - a message stands here as it is printed, in one line
import pytest


def test_a_stage_is_addressed_by_its_name_its_number_or_a_star(load):
    recipe = load(overrides=("stages.prune_heads.regular_scale=20", "stages.2.temperature=3", "stages.*.batch_size=4"))
    assert recipe.stage("prune_heads").config.regular_scale == 20
    assert recipe.stage("recover_heads").config.temperature == 3
    assert [stage.config.batch_size for stage in recipe.stages] == [4] * 4
    assert recipe.training.batch_size == 16


def test_a_later_override_wins_and_says_so_in_the_provenance(load):
    recipe = load(overrides=("seed=1", "seed=2"))
    assert recipe.seed == 2
    assert recipe.provenance["seed"] == "--set"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("stages.finetune.steps=5",), (None, 5)),
        (("training.steps=5",), (2, None)),
        (("stages.finetune.epochs=null", "training.steps=5"), (None, 5)),
        (("stages.finetune.steps=5", "stages.finetune.epochs=3"), (3, None)),
        (("stages.finetune.epochs=3", "stages.finetune.steps=5"), (None, 5)),
        (("stages.*.steps=6",), (None, 6)),
    ],
)
def test_the_more_specific_or_later_of_epochs_and_steps_drops_the_other(load, overrides, expected):
    config = load(overrides=overrides).stage("finetune").config
    assert (config.epochs, config.steps) == expected


def test_a_new_model_or_data_set_drops_what_belonged_to_the_old_one(load, tmp_path):
    (tmp_path / "a.jsonl").write_text("{}")
    old = [("model: some/model", "model: {pretrained: some/model, revision: v1, trust_remote_code: true}")]
    recipe = load(*old, overrides=("model=other/model",))
    assert recipe.model.model_dump(exclude_none=True) == {"pretrained": "other/model", "trust_remote_code": False}
    recipe = load(*old, overrides=("model.pretrained=other/model",))
    assert recipe.model.model_dump(exclude_none=True) == {"pretrained": "other/model", "trust_remote_code": False}
    recipe = load(overrides=("task.dataset={builtin: grammar}", "task.dataset.rows=50"))
    assert recipe.task.dataset.model_dump(exclude_none=True) == {
        "builtin": "grammar",
        "rows": 50,
        "trust_remote_code": False,
    }
    recipe = load(overrides=(f"task.dataset.data_files={{train: {tmp_path}/a.jsonl}}", "task.dataset.path=json"))
    assert recipe.task.dataset.name is None
    assert recipe.task.dataset.data_files == {"train": f"{tmp_path}/a.jsonl"}


def test_fields_of_a_config_are_set_one_by_one(load):
    recipe = load(
        ("model: some/model", "model: {config: {model_type: bert, hidden_size: 8}}"),
        overrides=("model.config.hidden_size=16", "model.config.num_hidden_layers=2"),
    )
    assert recipe.model.config == {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 2}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "stages.prune_head.sparsity=0.5",
            "stages.prune_head.sparsity: no such stage (did you mean 'prune_heads'?); there are: finetune, prune_heads, recover_heads, prune_ffn",
        ),
        (
            "stages.9.sparsity=0.5",
            "stages.9.sparsity: no such stage; there are: finetune, prune_heads, recover_heads, prune_ffn",
        ),
        ("seed", "must be dotted.path=value such as stages.prune_heads.sparsity=0.5, got 'seed'"),
        ("=3", "must be dotted.path=value such as stages.prune_heads.sparsity=0.5, got '=3'"),
        ("task..text=a", "must be dotted.path=value such as stages.prune_heads.sparsity=0.5, got 'task..text=a'"),
        ("seed=[1", "seed: '[1' is not YAML: expected ',' or ']', but got '<stream end>'; quote it"),
        ("seed.value=3", "seed.value: seed is 7, which has no keys"),
        ("task.validation=[a, b]", ""),
        ("extends=quickstart", "extends: belongs into a recipe file; run the other recipe instead"),
        ("stages.finetune.epoch=3", "stages.finetune.epoch: unknown key (did you mean 'epochs'?); allowed: "),
        ("tusk.text=a", "tusk: unknown key (did you mean 'task'?); allowed: "),
        ("stages.prune_heads.sparsity=1.5", "stages.prune_heads.sparsity: must be in [0, 1), got 1.5"),
        (
            "stages.finetune.betas.7=0.5",
            "stages.finetune.betas: must be a list of 2 values, each value a number in [0, 1), got {7: 0.5}",
        ),
        ("seed=", "seed: must be an integer in [0, 4294967296), got null"),
    ],
)
def test_an_override_that_cannot_be_is_refused_with_what_exists(load, mistakes, override, expected):
    if not expected:
        assert load(overrides=(override,)).task.validation == ("a", "b")
        return
    (found,) = mistakes(overrides=(override,))
    assert found.startswith(f"--set: {expected}")


def test_every_wrong_override_is_listed(mistakes):
    assert len(mistakes(overrides=("a", "stages.x.y=1", "seed=[1"))) == 3
