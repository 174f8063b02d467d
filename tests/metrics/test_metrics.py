import os
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from pipeline.errors import RecipeError
from pipeline.metrics import CLASS_METRICS, OWN_METRICS, VALUE_METRICS, check_metrics, flatten_result, load_metric


def compute(name, predictions, references, **options):
    return load_metric(name).compute(predictions=predictions, references=references, **options)[name]


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("accuracy", sklearn.metrics.accuracy_score),
        ("f1", lambda truth, guess: sklearn.metrics.f1_score(truth, guess, average="macro")),
        ("matthews", sklearn.metrics.matthews_corrcoef),
    ],
)
def test_class_metrics_equal_scikit_learns(name, measure):
    truth, guess = np.random.default_rng(0).integers(0, 3, (2, 50)).tolist()
    assert compute(name, guess, truth) == pytest.approx(measure(truth, guess), abs=1e-12)


@pytest.mark.parametrize(("name", "measure"), [("pearson", scipy.stats.pearsonr), ("spearman", scipy.stats.spearmanr)])
def test_value_metrics_equal_scipys(name, measure):
    truth, guess = np.random.default_rng(0).normal(size=(2, 50))
    assert compute(name, guess.tolist(), truth.tolist()) == pytest.approx(measure(guess, truth).statistic, abs=1e-12)


def test_f1_of_two_classes_is_that_of_class_1():
    assert compute("f1", [1, 0, 1, 1], [1, 1, 0, 1]) == pytest.approx(2 / 3)


def test_f1_of_three_classes_is_macro_even_where_only_two_occur():
    assert compute("f1", [1, 0, 1, 1], [1, 1, 0, 1], num_classes=3) == pytest.approx((0 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("name", "predictions", "references", "expected"),
    [
        ("f1", [0, 0, 0], [0, 1, 0], 0.0),
        ("matthews", [0, 0, 0], [0, 1, 0], 0.0),
        ("matthews", [1, 1], [1, 1], 0.0),
        ("pearson", [2.0, 2.0, 2.0], [1.0, 2.0, 3.0], 0.0),
        ("spearman", [1.0, 2.0, 3.0], [2.0, 2.0, 2.0], 0.0),
        ("pearson", [1.0], [1.0], 0.0),
        ("pearson", [float("nan"), 1.0, 2.0], [1.0, 2.0, 3.0], 0.0),
        ("spearman", [float("inf"), 1.0, 2.0], [1.0, 2.0, 3.0], 0.0),
    ],
)
def test_what_the_formula_leaves_undefined_is_zero_without_a_warning(name, predictions, references, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compute(name, predictions, references) == expected


@pytest.mark.parametrize("name", OWN_METRICS)
def test_our_metrics_write_nothing_to_the_disk(name, tmp_path, monkeypatch):
    import evaluate

    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    compute(name, [0, 1, 1], [0, 1, 0])
    assert os.listdir(tmp_path) == []


def test_computing_twice_counts_each_split_alone():
    metric = load_metric("accuracy")
    assert metric.compute(predictions=[1, 1], references=[0, 0]) == {"accuracy": 0.0}
    assert metric.compute(predictions=[1], references=[1]) == {"accuracy": 1.0}


def test_a_metric_of_the_hub_needs_the_flag_and_the_message_names_both():
    for refuse in (
        lambda: load_metric("bleu"),
        lambda: check_metrics(["bleu"], trust_remote_code=False, regression=False),
    ):
        with pytest.raises(
            RecipeError, match=r"accuracy, f1, matthews, pearson, spearman, got 'bleu'.*trust_remote_code"
        ):
            refuse()


def test_with_the_flag_the_metric_comes_from_evaluate(monkeypatch):
    import evaluate

    monkeypatch.setattr(evaluate, "load", lambda name: f"the hub's {name}")
    assert load_metric("bleu", trust_remote_code=True) == "the hub's bleu"


def test_a_metric_that_cannot_be_fetched_is_one_line(monkeypatch):
    import evaluate

    def fail(name):
        raise FileNotFoundError("no module\nsecond line")

    monkeypatch.setattr(evaluate, "load", fail)
    with pytest.raises(RecipeError, match="cannot load 'bleu': no module; ours are accuracy") as caught:
        load_metric("bleu", trust_remote_code=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_metrics_of_classes_are_refused_for_regression(name):
    with pytest.raises(RecipeError, match=f"{name} compares classes"):
        check_metrics([name], trust_remote_code=False, regression=True)
    check_metrics(VALUE_METRICS, trust_remote_code=False, regression=True)


def test_a_result_of_several_numbers_leads_with_the_metrics_name():
    assert flatten_result("glue", {"accuracy": 0.5, "f1": 0.25}) == {"glue": 0.5, "glue_f1": 0.25}
    assert flatten_result("f1", {"precision": 1, "f1": 0.5}) == {"f1": 0.5, "f1_precision": 1.0}


@pytest.mark.parametrize(
    ("result", "numbers"),
    [
        ({"f1": np.array([0.5, 0.25])}, {"m": 0.5, "m_f1_1": 0.25}),
        ({"table": np.eye(2, dtype=np.int64)}, {"m": 1.0, "m_table_0_1": 0.0, "m_table_1_0": 0.0, "m_table_1_1": 1.0}),
        ({"m": np.float32(0.5), "p": np.array(0.25)}, {"m": 0.5, "m_p": 0.25}),
        (
            {"kind": "x", "none": None, "all": {"f1": 0.5, "rows": [1, 2]}},
            {"m": 0.5, "m_all_rows_0": 1, "m_all_rows_1": 2},
        ),
        (0.5, {"m": 0.5}),
    ],
)
def test_a_result_of_arrays_texts_and_mappings_gives_all_of_its_numbers(result, numbers):
    assert flatten_result("m", result) == numbers


def test_a_result_without_a_number_is_refused():
    for result in ({"text": "good"}, {}, None):
        with pytest.raises(RecipeError, match=r"task\.metric: m gives no number, but .*; use another metric"):
            flatten_result("m", result)
