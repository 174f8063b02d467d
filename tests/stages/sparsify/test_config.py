import pytest
from pydantic import ValidationError

from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe
from stages import STAGES
from stages.sparsify.config import LayerChoice, SparsifyConfig, SparsitySchedule
from stages.sparsify.settings import resolve_domains

RECIPE = """
name: sparse
seed: 1
model: {config: {model_type: bert, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8}}
task: {type: text-classification, dataset: {builtin: grammar}, text: text}
training: {schedule: cosine, learning_rate: 1e-3}
stages:
  - uses: finetune
  - uses: sparsify
    epochs: 3
    sparsity: 0.9
    initial_sparsity: 0.0
    criterion: snip_momentum
    pattern: 4x1
    reduce: mean
    scope: global
    schedule: {kind: polynomial, power: 3, begin: 0.0, end: 0.7, every: 100}
    max_sparsity_per_layer: 0.98
    min_sparsity_per_layer: 0.0
    layers: {types: [Linear], include: [], exclude: [classifier, pooler, ".*embeddings.*"]}
    group_lasso: 0.0
    pattern_lock: false
    enabled: true
    distill: {logits_weight: 4.5}
    groups:
      - {include: [".*query", ".*key", ".*value"], pattern: 2:4, sparsity: 0.5, schedule: {every: 7}}
"""


def read(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path, stages=STAGES)


def test_the_documented_recipe_is_read_and_read_back_equal(tmp_path):
    recipe = read(tmp_path, RECIPE)
    config = recipe.stage("sparsify").config
    assert config.sparsity == 0.9
    assert config.groups[0].pattern == "2:4"
    assert not config.ignored()
    assert read(tmp_path, recipe.dump()) == recipe


def test_the_schedule_is_the_sparsitys_and_that_of_training_goes_to_the_learning_rate(tmp_path):
    recipe = read(tmp_path, RECIPE)
    config = recipe.stage("sparsify").config
    assert config.schedule == SparsitySchedule(end=0.7)
    assert config.lr_schedule == config.training().schedule == "cosine"
    assert recipe.provenance["stages.sparsify.lr_schedule"] == "training (recipe.yaml:6)"
    assert recipe.stage("finetune").config.schedule == "cosine"
    own = read(tmp_path, RECIPE.replace("    epochs: 3", "    epochs: 3\n    lr_schedule: constant"))
    assert own.stage("sparsify").config.training().schedule == "constant"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{kind: polynomial, power: 3, begin: 0.0, end: 0.7, every: 100}",
            "cosine",
            "schedule: must be that of the sparsity here, a mapping",
        ),
        ("pattern: 4x1", "pattern: 4x", r"sparsify.pattern: must be NxM such as 4x1.*got '4x'"),
        ("sparsity: 0.9", "sparsity: 0.99", r"sparsity: must be at most max_sparsity_per_layer \(0.98\), got 0.99"),
        ("sparsity: 0.5,", "sparsity: 0.6,", r"groups\[0\].sparsity: must be at most 0.5, all that pattern 2:4 can"),
        ("initial_sparsity: 0.0", "initial_sparsity: 0.95", r"initial_sparsity: must be at most sparsity \(0.9\)"),
        ("schedule: {every: 7}", "schedule: {begin: 0.8}", r"groups\[0\].schedule.end: must not come before groups"),
        ("min_sparsity_per_layer: 0.0", "min_sparsity_per_layer: 0.8", r"groups\[0\].min_sparsity_per_layer: must"),
        ("end: 0.7, every", "end: 0.7, often", r"sparsify.schedule.often: unknown"),
        ("exclude: [cl", 'exclude: ["(", cl', "layers.exclude.* must be a regular expression, got '\\('"),
        ("types: [Linear]", "types: [Linaer]", "layers.types.*Linear.*Linaer"),
        ("schedule: cosine", "schedule: cosinus", "training.schedule: .*cosinus"),
    ],
)
def test_bad_values_give_one_clear_line(tmp_path, old, new, message):
    assert old in RECIPE
    with pytest.raises(RecipeError, match=message) as refused:
        read(tmp_path, RECIPE.replace(old, new, 1))
    assert len(str(refused.value).splitlines()) == 1


def test_a_groups_settings_win_and_what_it_does_not_say_is_the_stages():
    config = SparsifyConfig(
        sparsity=0.8,
        pattern="4x1",
        schedule={"kind": "linear", "end": 0.5, "every": 9},
        layers={"types": ["Linear", "Embedding"], "exclude": ["x"]},
        groups=[{"include": ["a"], "pattern": "2:4", "sparsity": 0.3, "schedule": {"end": 1.0}}, {"exclude": []}],
    )
    first, second, rest = resolve_domains(config)
    assert (first.pattern, first.sparsity, first.criterion) == ("2:4", 0.3, "snip_momentum")
    assert first.schedule == SparsitySchedule(kind="linear", end=1.0, every=9)
    assert first.choice == LayerChoice(types=("Linear", "Embedding"), include=("a",), exclude=("x",))
    assert second.choice == LayerChoice(types=("Linear", "Embedding"), exclude=())
    assert (second.pattern, second.sparsity) == ("4x1", 0.8)
    assert (rest.label, rest.choice) == ("", config.layers)


def test_a_groups_false_and_zero_are_given_values():
    config = SparsifyConfig(pattern_lock=True, group_lasso=0.5, groups=[{"pattern_lock": False, "group_lasso": 0.0}])
    group, rest = resolve_domains(config)
    assert (group.pattern_lock, group.group_lasso) == (False, 0.0)
    assert (rest.pattern_lock, rest.group_lasso) == (True, 0.5)


def test_settings_without_effect_are_named():
    assert SparsifyConfig(teacher="source").ignored() == ("teacher",)
    assert SparsifyConfig(teacher="source", distill={}).ignored() == ()
    assert SparsifyConfig(pattern_lock=True, sparsity=0.9, scope="local").ignored() == ("sparsity", "scope")
    at_once = {"schedule": {"kind": "one_shot", "every": 7, "end": 0.9, "power": 2}, "initial_sparsity": 0.1}
    assert SparsifyConfig(**at_once).ignored() == (
        "initial_sparsity",
        "schedule.power",
        "schedule.end",
        "schedule.every",
    )
    assert SparsifyConfig(**at_once, groups=[{"schedule": {"kind": "linear"}}]).ignored() == ()
    assert SparsifyConfig(schedule={"kind": "cos", "power": 2}).ignored() == ("schedule.power",)
    assert SparsifyConfig(schedule={"power": 2, "every": 7}).ignored() == ()


def test_an_end_before_the_beginning_shows_at_once_but_not_for_one_shot():
    with pytest.raises(ValidationError, match="end: must not come before begin"):
        SparsitySchedule(begin=0.8)
    assert SparsitySchedule(kind="one_shot", begin=0.8).begin == 0.8
