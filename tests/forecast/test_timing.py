from types import SimpleNamespace

import pytest

from pipeline.forecast import timing
from pipeline.forecast.schedule import Amount
from pipeline.forecast.timing import LEAST_STEPS, MOST_STEPS, WARMUP_STEPS, Enough, StepTimes


@pytest.fixture
def clock(monkeypatch):
    """A clock that is moved by hand."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


def steps(log, clock, number, *, seconds, tokens=10, start=0):
    for step in range(start + 1, start + number + 1):
        clock[0] += seconds
        log(step, loss=0.5, tokens=tokens * step)


def test_the_first_steps_are_not_counted_and_the_rest_is_multiplied_out(clock, tmp_path):
    log = StepTimes(tmp_path / "log")
    steps(log, clock, WARMUP_STEPS, seconds=9.0)
    steps(log, clock, 5, seconds=0.5, start=WARMUP_STEPS)
    assert log.seconds(Amount(steps=100, rows=800, tokens=None)) == pytest.approx(50.0)
    assert log.seconds(Amount(steps=100, rows=800, tokens=2000)) == pytest.approx(100.0)
    assert not (tmp_path / "log").exists()


def test_an_evaluation_between_steps_is_not_counted(clock, tmp_path):
    log = StepTimes(tmp_path / "log")
    steps(log, clock, WARMUP_STEPS + 1, seconds=0.5)
    clock[0] += 60.0
    log(WARMUP_STEPS + 1, epoch=1.0, **{"validation/accuracy": 0.5})
    steps(log, clock, 1, seconds=0.5, start=WARMUP_STEPS + 1)
    assert log.seconds(Amount(steps=10, rows=80, tokens=None)) == pytest.approx(5.0)


def test_training_ends_once_enough_steps_took_long_enough_or_there_are_many(clock, tmp_path):
    with pytest.raises(Enough):
        steps(StepTimes(tmp_path / "slow"), clock, WARMUP_STEPS + LEAST_STEPS, seconds=1.0)
    log = StepTimes(tmp_path / "quick")
    steps(log, clock, WARMUP_STEPS + MOST_STEPS - 1, seconds=0.001)
    with pytest.raises(Enough):
        steps(log, clock, 1, seconds=0.001, start=WARMUP_STEPS + MOST_STEPS - 1)


def test_a_training_that_ended_at_once_is_told_no_time(tmp_path):
    assert StepTimes(tmp_path / "log").seconds(Amount(1, 8, None)) == 0.0


@pytest.mark.parametrize(("faster", "expected"), [(({"rounds": 1}, 0.75), 130.0), (None, 400.0)])
def test_steps_that_get_faster_are_weighed_by_how_much_of_the_stage_they_are(monkeypatch, tmp_path, faster, expected):
    stage, settings = SimpleNamespace(config="config"), []
    machine = SimpleNamespace(soon_fast=lambda config, num_steps: faster if num_steps == 20 else None)
    inspector = SimpleNamespace(stages=[machine], recipe=SimpleNamespace(stages=[stage]))

    def times(bench, models, index, folder, **changes):
        settings.append((folder.name, changes))
        return SimpleNamespace(seconds=lambda amount: amount.steps * (2.0 if changes else 20.0))

    monkeypatch.setattr(timing, "_time_steps", times)
    bench = SimpleNamespace(inspector=inspector)
    found = timing._training_seconds(bench, None, 0, Amount(20, 160, None), tmp_path)
    assert found == pytest.approx(expected)
    assert settings == [("first", {}), ("last", {"rounds": 1})][: len(settings)]
    del machine.soon_fast
    assert timing._training_seconds(bench, None, 0, Amount(20, 160, None), tmp_path) == pytest.approx(400.0)
