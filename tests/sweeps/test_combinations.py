from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import RecipeError
from pipeline.sweeps.combinations import Axis, combine, read_axes, read_axis


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("seed=1,2,3", Axis("seed", ("1", "2", "3"))),
        ("a.b=0.5", Axis("a.b", ("0.5",))),
        (" a.b = match_heads , 0.5", Axis("a.b", ("match_heads", "0.5"))),
        ("s=[0.5, 0.25],[0.1,0.2]", Axis("s", ("[0.5, 0.25]", "[0.1,0.2]"))),
        ("d={a: 1, b: 2},null", Axis("d", ("{a: 1, b: 2}", "null"))),
        ("m='a,b',\"c,d\"", Axis("m", ("'a,b'", '"c,d"'))),
    ],
)
def test_an_axis_is_a_path_and_values_apart_at_outer_commas(text, axis):
    assert read_axis(text) == axis


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed", "--vary: must be PATH=VALUE,VALUE such as"),
        ("=1,2", "--vary: must be PATH=VALUE,VALUE such as"),
        ("seed=1,,2", "--vary: must be PATH=VALUE,VALUE such as"),
        ("seed=", "--vary: must be PATH=VALUE,VALUE such as"),
        ("seed=1,2,1", "--vary: seed has the value '1' twice"),
        ("a=0.5,0.50", "--vary: a has the value '0.5' twice"),
        ("name=a,b", "--vary: name cannot be varied"),
    ],
)
def test_an_axis_that_cannot_be_is_refused(text, message):
    with pytest.raises(RecipeError, match=message):
        read_axis(text)


def test_values_of_numpy_torch_and_pathlib_are_taken_for_what_they_say():
    vary = {"seed": np.arange(2), "s": [np.float32(0.5), torch.tensor(3)], "model": [Path("a/b")]}
    assert read_axes(vary) == [Axis("seed", ("0", "1")), Axis("s", ("0.5", "3")), Axis("model", ('"a/b"',))]


def test_a_value_that_no_recipe_can_hold_is_refused():
    with pytest.raises(RecipeError, match="--vary: seed must have values of plain data, got "):
        read_axes({"seed": [object()]})


def test_values_from_python_are_those_that_the_command_would_be_given():
    vary = {"stages.a.sparsity": [0.5, "match_heads", [0.1, 0.2], None], "seed": [1, True]}
    texts = ["stages.a.sparsity=0.5,match_heads,[0.1, 0.2],null", "seed=1,true"]
    assert read_axes(vary) == read_axes(texts)
    assert read_axes({"a": ["true", "x y"]}) == [Axis("a", ('"true"', '"x y"'))]
    with pytest.raises(RecipeError, match="seed must have at least one value"):
        read_axes({"seed": []})


def test_every_combination_has_its_values_and_a_name_that_says_them():
    found = combine([Axis("stages.heads.sparsity", ("0.25", "0.5")), Axis("seed", ("1", "2"))])
    assert [run.name for run in found] == [
        "sparsity-0.25_seed-1",
        "sparsity-0.25_seed-2",
        "sparsity-0.5_seed-1",
        "sparsity-0.5_seed-2",
    ]
    assert found[1].overrides == ("stages.heads.sparsity=0.25", "seed=2", "name='sparsity-0.25_seed-2'")


def test_an_axis_given_twice_or_none_at_all_is_refused():
    with pytest.raises(RecipeError, match="seed is given twice"):
        combine([Axis("seed", ("1",)), Axis("seed", ("2",))])
    with pytest.raises(RecipeError, match="must be given at least once"):
        combine([])
