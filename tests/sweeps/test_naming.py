import pytest

from pipeline.sweeps.naming import meaning, name_runs, short_labels

HEADS, CHANNELS = "stages.prune_heads.sparsity", "stages.prune_ffn.sparsity"


def test_labels_are_as_short_as_they_can_be_told_apart():
    paths = [HEADS, CHANNELS, "seed", "task.seed"]
    assert short_labels(paths) == ["prune_heads.sparsity", "prune_ffn.sparsity", "seed", "task.seed"]
    assert short_labels(["stages.a.epochs", "training.batch_size"]) == ["epochs", "batch_size"]


def test_names_are_folders_and_never_the_same_one():
    values = ("[1, 2]", "[1; 2]", "x" * 200, "y" * 200, "x" * 201)
    names = name_runs([{"a": value} for value in values], {})
    assert names[0] == "a-_1_2_"
    assert names[1].startswith("a-_1_2_-")
    assert len(set(names)) == 5
    assert max(map(len, names)) == 80
    assert name_runs([{"_a": "-1"}], {}) == ["x_a--1"]


def test_a_name_that_is_cut_says_the_same_in_every_call():
    first, second = ({"a": "x" * 200}, {"a": "x" * 201})
    both = name_runs([first, second], {})
    assert [*name_runs([first], {}), *name_runs([second], {})] == both


def test_a_field_named_alike_gets_a_longer_label_beside_those_that_are_there():
    noted = {"sparsity-0.25_seed-1": {HEADS: "0.25", "seed": "1"}}
    assert name_runs([{CHANNELS: "0.25", "seed": "1"}], noted) == ["prune_ffn.sparsity-0.25_seed-1"]


@pytest.mark.parametrize("again", [{HEADS: "0.25", "seed": "1"}, {"seed": "1", HEADS: "0.250"}])
def test_the_values_of_a_run_that_is_there_are_found_under_its_name(again):
    noted = {"any-name": {HEADS: "0.25", "seed": "1"}, "prune_ffn.sparsity-0.5": {CHANNELS: "0.5"}}
    assert name_runs([again], noted) == ["any-name"]


def test_a_name_that_is_taken_by_other_values_ends_in_a_mark_of_its_own():
    noted = {"a-_1_2_": {"a": "[1; 2]"}}
    (name,) = name_runs([{"a": "[1, 2]"}], noted)
    assert name.startswith("a-_1_2_-")
    assert name_runs([{"a": "[1, 2]"}], {**noted, name: {"a": "[1, 2]"}}) == [name]


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [("0.5", "0.50", True), ("[1,2]", "[1, 2]", True), ("x", '"x"', True), ("1", "1.0", False), (".nan", "{", False)],
)
def test_values_are_the_same_that_a_recipe_reads_alike(one, other, are_same):
    assert (meaning(one) == meaning(other)) == are_same
