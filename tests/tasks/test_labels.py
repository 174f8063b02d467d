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
        ([2.0, 0.0, 1.0], {"labels": ["2.0", "0.0", "1.0"]}, ["2.0", "0.0", "1.0"], [0, 1, 2]),
        ([2, 0, 1], {"labels": ["2.0", "0", "1e0"]}, ["2.0", "0", "1e0"], [0, 1, 2]),
        ([3.9, 3.1, 3.9], {"labels": ["3.9", "3.1"]}, ["3.9", "3.1"], [0, 1, 0]),
        (["3.10", "3.1", "3.9"], {"labels": ["3.9", "3.1", "3.10"]}, ["3.9", "3.1", "3.10"], [2, 1, 0]),
        ([True, False, True], {"labels": ["True", "False"]}, ["True", "False"], [0, 1, 0]),
        ([True, False, True], {"labels": ["bad", "good"]}, ["bad", "good"], [1, 0, 1]),
        ([1, 0, 1], {"labels": ["true", "false"]}, ["true", "false"], [1, 0, 1]),
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


@pytest.mark.parametrize("value", ["", " \t", None])
@pytest.mark.parametrize("labels", [None, ("neg", "pos")])
def test_a_row_without_a_label_is_refused_and_makes_no_class(value, labels):
    rows = rows_of(["pos", value, "neg"])
    with pytest.raises(DataError, match=r"row 2, column 'label': the label is (null|empty); drop the row or give"):
        find_labels(source(labels=labels), rows).encode(rows)


def test_names_that_differ_in_white_space_alone_are_not_two_classes_unless_they_are_listed():
    rows = rows_of(["pos", "neg", " pos"])
    with pytest.raises(DataError, match="row 3, column 'label': labels 'pos' and ' pos' differ in nothing but white"):
        find_labels(source(), rows)
    assert find_labels(source(labels=("pos", " pos", "neg")), rows).encode(rows).tolist() == [0, 2, 1]
    assert find_labels(source(), rows_of([" a", " b"])).names == (" a", " b")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, 1e39, -1e39])
def test_values_to_regress_must_be_finite_numbers_of_float32(value):
    with pytest.raises(DataError, match="row 2, column 'label'"):
        find_labels(source(regression=True), rows_of([1.0])).encode(rows_of([1.0, value]))


def test_two_names_of_one_number_are_refused_where_the_data_hold_numbers():
    with pytest.raises(DataError, match=r"task.labels: 1 and 1\.0 are one number, and column 'label' holds numbers"):
        find_labels(source(labels=("1", "1.0")), rows_of([1, 1]))


def test_a_number_that_no_name_writes_is_refused_with_the_classes():
    labels = find_labels(source(labels=("3.9", "3.1")), rows_of([3.9, 3.1]))
    with pytest.raises(DataError, match=r"row 2, .* label 3\.2 is not one of the classes; the classes are 3\.9, 3\.1"):
        labels.encode(rows_of([3.9, 3.2], "validation"))
