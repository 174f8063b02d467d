import pytest


def test_a_stage_inherits_training_and_its_own_fields_win(load):
    recipe = load(("epochs: 2", "epochs: 2, batch_size: 4"))
    assert recipe.stage("finetune").config.batch_size == 4
    assert recipe.stage("prune_heads").config.batch_size == 16
    assert recipe.stage("finetune").config.learning_rate == 1e-4
    assert recipe.provenance["stages.finetune.batch_size"] == "recipe.yaml:12"
    assert recipe.provenance["stages.prune_heads.batch_size"] == "training (recipe.yaml:9)"


@pytest.mark.parametrize(
    ("stage", "training", "expected"),
    [
        ("", "", (3, None)),
        ("", "epochs: 2", (2, None)),
        ("", "steps: 7", (None, 7)),
        (", steps: 5", "epochs: 2", (None, 5)),
        (", epochs: 5", "steps: 2", (5, None)),
        (", epochs: 0.5", "", (0.5, None)),
        (", epochs: null", "epochs: 2", (3, None)),
    ],
)
def test_exactly_one_of_epochs_and_steps_holds_in_a_stage(load, stage, training, expected):
    recipe = load((", epochs: 2", stage), ("batch_size: 16", training or "batch_size: 16"))
    config = recipe.stage("finetune").config
    assert (config.epochs, config.steps) == expected


def test_every_value_of_every_stage_says_where_it_came_from(load):
    recipe = load()
    values = {path: (value, origin) for path, value, origin in recipe.values()}
    assert values["stages.recover_heads.epochs"] == (3, "default")
    assert values["stages.finetune.weight_decay"] == (0.0, "default")
    assert values["stages.prune_ffn.distill.temperature"] == (2.0, "default")
    assert values["task.dataset.name"] == ("sst2", "recipe.yaml:6")
    assert values["model.pretrained"] == ("some/model", "recipe.yaml:3")
    assert set(recipe.provenance) <= set(values)


def test_a_teacher_is_an_earlier_stage_source_or_a_model(load, tmp_path):
    for teacher in ("finetune", "source", "owner/model", str(tmp_path)):
        recipe = load(("name: recover_heads", f"name: recover_heads, teacher: {teacher}"))
        assert recipe.stage("recover_heads").config.teacher == teacher
