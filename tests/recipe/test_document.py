import pytest

from pipeline.errors import RecipeError
from pipeline.recipe.document import from_mapping, read_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-5", 3e-5),
        ("2:4", "2:4"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("010", 10),
        ("0o10", 8),
        ("2020-01-01", "2020-01-01"),
        ("1_000", 1000),
        ("'1'", "1"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_values_are_read_as_yaml_1_2_says(text, value):
    read = read_text(text, "x").plain()
    assert read == value
    assert type(read) is type(value)


def test_every_value_knows_its_line_even_in_nested_and_flow_style():
    document = read_text("a:\n  b:\n    - 1\n    - {c: 2,\n       d: 3}\n", "x.yaml")
    lines = {path: leaf.origin.line for path, leaf in document.leaves()}
    assert lines == {("a", "b", 0): 3, ("a", "b", 1, "c"): 4, ("a", "b", 1, "d"): 5}
    assert document.find(("a", "nowhere", "c")).origin.line == 1


def test_two_twins_are_both_named_in_one_error():
    with pytest.raises(RecipeError) as caught:
        read_text("a: 1\na: 2\nb: {c: 1, c: 2}\n", "x.yaml")
    assert str(caught.value).splitlines() == [
        "x.yaml:2: a: is given twice, first on line 1; keep one of them",
        "x.yaml:3: b.c: is given twice, first on line 3; keep one of them",
    ]


def test_a_mapping_from_python_may_hold_tuples_and_paths_but_no_objects(tmp_path):
    document = from_mapping({"a": (1, 2), "b": tmp_path}, "recipe")
    assert document.plain() == {"a": [1, 2], "b": str(tmp_path)}
    with pytest.raises(RecipeError, match=r"^recipe: a.0: must be plain data, got"):
        from_mapping({"a": [object()]}, "recipe")
    with pytest.raises(RecipeError, match=r"^recipe: a: keys must be text, got 1"):
        from_mapping({"a": {1: 2}}, "recipe")
