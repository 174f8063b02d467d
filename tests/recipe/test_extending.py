# ruff: noqa: E501 - a message stands here as it is printed, in one line
import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe
from stages import STAGES


def test_mappings_merge_and_stages_change_by_name(write):
    write(name="base.yaml")
    child = write(
        text="extends: base.yaml\nname: child\ntask: {text: other}\ntraining: {batch_size: 8}\n"
        "stages:\n  prune_heads: {sparsity: 0.25}\n  recover_heads: {steps: 9}\n"
    )
    recipe = load_recipe(child, stages=STAGES)
    assert recipe.name == "child"
    assert recipe.task.text == ("other",)
    assert recipe.task.dataset.name == "sst2"
    assert (recipe.training.batch_size, recipe.training.learning_rate) == (8, 1e-4)
    assert [stage.name for stage in recipe.stages] == ["finetune", "prune_heads", "recover_heads", "prune_ffn"]
    assert recipe.stage("prune_heads").config.sparsity == 0.25
    assert recipe.stage("prune_heads").config.epochs == 4
    assert recipe.stage("recover_heads").config.steps == 9
    assert recipe.provenance["stages.prune_heads.sparsity"] == "recipe.yaml:6"
    assert recipe.provenance["stages.prune_heads.epochs"] == "base.yaml:14"
    assert recipe.provenance["stages.finetune.learning_rate"] == "training (base.yaml:10)"
    assert recipe.provenance["stages.finetune.batch_size"] == "training (recipe.yaml:4)"


def test_a_list_of_stages_replaces_the_one_extended(write):
    write(name="base.yaml")
    recipe = load_recipe(write(text="extends: base.yaml\nstages: [{uses: finetune}]\n"), stages=STAGES)
    assert [stage.name for stage in recipe.stages] == ["finetune"]
    assert recipe.stages[0].config.epochs == 3


def test_chains_are_followed_from_the_folder_of_each_file(write, tmp_path):
    (tmp_path / "deep").mkdir()
    write(name="base.yaml")
    write(text="extends: ../base.yaml\nseed: 1\nname: middle\n", name="deep/middle.yaml")
    recipe = load_recipe(write(text="extends: deep/middle.yaml\nname: top\n"), stages=STAGES)
    assert (recipe.name, recipe.seed, recipe.provenance["seed"]) == ("top", 1, "middle.yaml:2")


def test_a_shipped_recipe_can_be_extended_from_python():
    recipe = load_recipe({"extends": "bert-base-mnli", "name": "mine", "model": "a/b"}, stages=STAGES)
    assert (recipe.name, recipe.model.pretrained, len(recipe.stages)) == ("mine", "a/b", 5)


def test_settings_that_contradict_the_recipe_extended_win(write):
    write(name="base.yaml")
    recipe = load_recipe(
        write(
            text="extends: base.yaml\ntask: {dataset: {builtin: grammar}}\nmodel: {config: {model_type: bert}}\n"
            "stages: {finetune: {steps: 3}}\n"
        ),
        stages=STAGES,
    )
    assert recipe.task.dataset.path is None
    assert recipe.task.dataset.name is None
    assert recipe.model.pretrained is None
    assert recipe.stages[0].config.epochs is None


def test_a_circle_is_refused_naming_its_steps(write):
    write(text="extends: recipe.yaml\n", name="other.yaml")
    with pytest.raises(
        RecipeError, match=r"other.yaml:1: extends: goes in a circle, recipe.yaml -> other.yaml -> recipe.yaml; take"
    ):
        load_recipe(write(text="extends: other.yaml\n"), stages=STAGES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "extends: nowhere.yaml\n",
            r"recipe.yaml:1: extends: .*nowhere.yaml: no such recipe; give a YAML file or a shipped",
        ),
        ("extends: 5\n", r"recipe.yaml:1: extends: must be a recipe file or a shipped recipe's name, got 5"),
        (
            "extends: base.yaml\nstages: {prune_head: {sparsity: 0.1}}\n",
            r"recipe.yaml:2: stages.prune_head: no such stage in the recipe extended \(did you mean 'prune_heads'\?\); it has: finetune",
        ),
        (
            "extends: base.yaml\nstages: {finetune: 3}\n",
            r"recipe.yaml:2: stages.finetune: must be a mapping of the fields to change, got 3",
        ),
        ("name: a\nstages: {finetune: {}}\n", r"recipe.yaml:2: stages: must be a list of stages, got a mapping"),
        (
            "extends: base.yaml\nstages: {prune_heads: {sparsity: 7}}\n",
            r"recipe.yaml:2: stages.prune_heads.sparsity: must be in \[0, 1\), got 7",
        ),
    ],
)
def test_what_cannot_be_extended_is_refused_with_its_line(write, text, expected):
    write(name="base.yaml")
    with pytest.raises(RecipeError, match=expected):
        load_recipe(write(text=text), stages=STAGES)
