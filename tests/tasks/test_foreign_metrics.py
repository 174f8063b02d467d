import pytest

from pipeline.errors import RecipeError


class Foreign:
    """A metric of others: what ``evaluate.load`` gives, without a network."""

    def __init__(self, result):
        self.result = result
        self.seen = []

    def compute(self, *, predictions, references):
        self.seen.append((predictions, references))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def test_a_metric_of_others_is_tried_on_two_rows_when_the_task_is_built(make, monkeypatch):
    foreign = Foreign({"good": [0.5, 0.25]})
    monkeypatch.setattr("evaluate.load", lambda name: foreign)
    task = make(metric=["accuracy", "nice"], trust_remote_code=True)
    assert foreign.seen == [([0, 1], [0, 1])]
    assert task.score([1, 1], [1, 0]) == {"accuracy": 0.5, "nice": 0.5, "nice_good_1": 0.25}


@pytest.mark.parametrize("result", [ValueError("takes\nscores, not classes"), TypeError("no"), {"text": "x"}])
def test_a_metric_that_cannot_score_the_task_is_refused_before_anything_runs(make, monkeypatch, result):
    monkeypatch.setattr("evaluate.load", lambda name: Foreign(result))
    with pytest.raises(
        RecipeError, match=r"task\.metric: nice (cannot score two rows of this task \(|gives no)"
    ) as caught:
        make(metric="nice", trust_remote_code=True)
    assert "\n" not in str(caught.value)


def test_a_metric_that_cannot_be_had_is_refused_before_anything_runs(make, monkeypatch):
    def fail(name):
        raise FileNotFoundError(f"no module {name}")

    monkeypatch.setattr("evaluate.load", fail)
    with pytest.raises(RecipeError, match=r"task\.metric: evaluate\.load cannot load 'nonesuch': no module nonesuch"):
        make(metric="nonesuch", trust_remote_code=True)
