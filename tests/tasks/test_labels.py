from types import SimpleNamespace

import datasets
import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.tasks.labels import find_labels
from pipeline.tasks.rows import Rows


def rows_of(values, split="train"):
    return Rows(split, datasets.Dataset.from_dict({"label": values}))


def source(**fields):
    return SimpleNamespace(**{"label": "label", "labels": None, "regression": False, **fields})


@pytest.mark.parametrize(
    ("values", "fields", "names", "numbers"),
    [
        ([1, 0, 1], {}, ["LABEL_0", "LABEL_1"], [1, 0, 1]),
        ([1.0, 0.0, 1.0], {}, ["LABEL_0", "LABEL_1"], [1, 0, 1]),
        ([True, False, True], {}, ["LABEL_0", "LABEL_1"], [1, 0, 1]),
        (["pos", "neg", "pos"], {}, ["neg", "pos"], [1, 0, 1]),
        (["pos", "neg", "pos"], {"labels": ["pos", "neg"]}, ["pos", "neg"], [0, 1, 0]),
        ([1, 0, 1], {"labels": ["bad", "good", "unseen"]}, ["bad", "good", "unseen"], [1, 0, 1]),
        ([1, -1, 1], {"labels": ["-1", "0", "1"]}, ["-1", "0", "1"], [2, 0, 2]),
        ([5.0, 1.0, 5.0], {"labels": ["1", "5"]}, ["1", "5"], [1, 0, 1]),
    ],
)
def test_labels_get_numbers_in_a_fixed_order_of_names(values, fields, names, numbers):
    rows = rows_of(values)
    labels = find_labels(source(**fields), rows)
    encoded = labels.encode(rows)
    assert encoded.tolist() == numbers
    assert encoded.dtype == np.int64
    config = labels.config_fields()
    assert config["id2label"] == dict(enumerate(names))
    assert config["label2id"] == {name: number for number, name in enumerate(names)}
    assert config["num_labels"] == len(names)
    assert config["problem_type"] == "single_label_classification"


@pytest.mark.parametrize("names", [["b", "a"], ["a", "b", "c"]])
def test_named_classes_of_a_feature_follow_the_recipes_order_where_it_gives_one(names):
    feature = datasets.Features({"label": datasets.ClassLabel(names=["a", "b"])})
    rows = Rows("train", datasets.Dataset.from_dict({"label": [0, 1, 1]}, features=feature))
    assert find_labels(source(), rows).names == ("a", "b")
    assert find_labels(source(), rows).encode(rows).tolist() == [0, 1, 1]
    given = find_labels(source(labels=tuple(names)), rows)
    assert [given.names[number] for number in given.encode(rows)] == ["a", "b", "b"]


def test_a_row_without_a_label_in_a_named_feature_is_refused():
    feature = datasets.Features({"label": datasets.ClassLabel(names=["a", "b"])})
    rows = Rows("test", datasets.Dataset.from_dict({"label": [0, -1]}, features=feature))
    with pytest.raises(DataError, match="split 'test', row 2, column 'label': label -1 is out of range"):
        find_labels(source(), rows).encode(rows)


@pytest.mark.parametrize("given", [("bad", "fine"), None])
def test_a_name_that_is_no_class_is_refused_with_the_classes(given):
    labels = find_labels(source(labels=given), rows_of(["fine", "bad"]))
    with pytest.raises(DataError, match=r"row 2, .* label 'odd' is not one of the classes; the classes are bad, fine"):
        labels.encode(rows_of(["fine", "odd"], "validation"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_values_to_regress_must_be_finite_numbers(value):
    with pytest.raises(DataError, match="row 2, column 'label'"):
        find_labels(source(regression=True), rows_of([1.0])).encode(rows_of([1.0, value]))
