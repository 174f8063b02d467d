import math

import pytest

from pipeline.interruption import Interrupted
from pipeline.training.resume import Checkpoints


def scoring(fakes, values, *, greater_is_better=True):
    """A task whose select split scores the next of ``values`` at each evaluation."""

    class Scoring(fakes.Task):
        def score(self, predictions, references):
            return {"accuracy": next(scores)}

        def greater_is_better(self):
            return greater_is_better

    scores = iter(values)
    return Scoring(select=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_never_the_best(benches, fakes, bad):
    plain = {"schedule": "constant", "warmup": 0}
    two_epochs = benches("two").run(epochs=2, **plain)
    selected = benches("selected").run(task=scoring(fakes, [bad, 0.2, bad]), **plain)
    assert (selected.training.best_step, selected.training.best_value) == (10, 0.2)
    assert selected.sha256 == two_epochs.sha256


def test_without_a_finite_score_the_last_weights_are_kept_and_a_line_says_so(benches, fakes, caplog):
    last = benches("last").run()
    selected = benches("selected").run(task=scoring(fakes, [math.nan] * 3))
    assert selected.sha256 == last.sha256
    assert (selected.training.best_step, selected.training.best_value) == (None, None)
    assert "select/accuracy was finite after no epoch, so the last weights are kept" in caplog.text


def test_a_best_epoch_that_was_not_finite_when_it_was_saved_is_none(benches, fakes):
    last, again = benches("last").run(), benches("again")
    with pytest.raises(Interrupted):
        again.run(task=scoring(fakes, [0.5]), stop_after=7)
    saves = Checkpoints(again.folder / "work" / "training", save_seconds=0, save_share=1)
    tensors, document = saves.load()
    document["position"]["best_value"] = math.nan
    saves.save(tensors, document)

    resumed = again.run(task=scoring(fakes, [math.nan] * 2))
    assert resumed.training.best_step is None
    assert resumed.sha256 == last.sha256


@pytest.mark.parametrize(("greater_is_better", "best_step", "best_value"), [(True, 5, 0.9), (False, 10, 0.2)])
def test_the_best_epoch_has_the_most_or_the_least_of_the_metric_as_the_task_says(
    bench, fakes, greater_is_better, best_step, best_value
):
    task = scoring(fakes, [0.9, 0.2, 0.5], greater_is_better=greater_is_better)
    training = bench.run(task=task).training
    assert (training.best_step, training.best_value) == (best_step, best_value)
