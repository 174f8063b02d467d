import re

import pytest

from pipeline.convert.layer_names import narrowed, of_variables, of_weight

NAMES = ["encoder.0.query", "encoder.0.key", "encoder.1.query", "pooler", "query_classifier"]


@pytest.mark.parametrize(
    ("included", "excluded"),
    [
        (["query"], ["classifier"]),
        (["^encoder", "pooler$"], [r"\.1\."]),
        (["query|pooler"], ["^query", "1"]),
        ([".*"], ["^$"]),
        (["quer(y|ies)"], ["0", "^pool"]),
    ],
)
def test_a_narrowed_expression_finds_what_one_finds_and_no_other_bars(included, excluded):
    found = [name for name in NAMES if any(re.search(expression, name) for expression in narrowed(included, excluded))]
    assert found == [
        name
        for name in NAMES
        if any(re.search(expression, name) for expression in included)
        and not any(re.search(expression, name) for expression in excluded)
    ]


def test_the_name_of_a_weight_finds_its_layer_alone():
    expression = of_weight("encoder.1.query.weight")
    assert [name for name in [*NAMES, "encoder.11query", "encoder.1.query.a"] if re.search(expression, name)] == [
        "encoder.1.query"
    ]


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("(ln/gamma)|(ln/beta)|(modalit)", ["modalit"]),
        ("encoder/layer_0|(ffn|self)/kernel", [r"encoder\.layer_0", r"(ffn|self)\.kernel"]),
        ("[a|b]/bias", []),
        ("", []),
    ],
)
def test_the_alternatives_of_a_tensorflow_pattern_lose_what_is_no_matrix(pattern, parts):
    assert of_variables(pattern) == parts
