import pytest

from pipeline.reporting.scores import split_and_metric, split_scores, spoken


def test_scores_are_told_from_other_numbers_whatever_they_are_called():
    scores = {"validation/accuracy": 0.9, "val/a/accuracy": 0.8, "validation/org/my_score": 0.7}
    others = {"parameters": 10.0, "before_cut/validation/accuracy": 0.6, "before_cut/val/a/accuracy": 0.5}
    assert split_scores({**others, **scores}) == scores


@pytest.mark.parametrize(
    ("name", "splits", "parts"),
    [
        ("validation/accuracy", ("validation", "heldout"), ("validation", "accuracy")),
        ("validation/org/my_score", ("validation",), ("validation", "org/my_score")),
        ("val/a/accuracy", ("val/a", "plain"), ("val/a", "accuracy")),
        ("val/a/accuracy", ("val", "val/a"), ("val/a", "accuracy")),
        ("val/a/org/my_score", ("val/a",), ("val/a", "org/my_score")),
        ("validation/org/my_score", (), ("validation", "org/my_score")),
    ],
)
def test_a_score_is_of_a_split_of_the_task(name, splits, parts):
    assert split_and_metric(name, splits) == parts
    assert spoken(name, splits) == " ".join(parts)
