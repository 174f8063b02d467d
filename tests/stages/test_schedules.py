import pytest

from stages.history import MOST_SNAPSHOTS, History
from stages.schedules import ONE_SHOT_STEPS, Rounds, Span, check_span, resolve_span


def test_a_span_hits_its_ends_and_climbs_between():
    span = Span(10, 30)
    values = [span.progress(step) for step in range(40)]
    assert values[:11] == [0.0] * 11
    assert values[30:] == [1.0] * 10
    assert values == sorted(values)
    assert span.progress(20) == pytest.approx(1 - 0.5**3)


def test_integers_count_steps_and_shares_are_of_the_stage():
    assert resolve_span(0.25, 0.75, 100) == Span(25, 75)
    assert resolve_span(3, 1.0, 100) == Span(3, 100)
    assert resolve_span(7, 7, 100) == Span(7, 7)


@pytest.mark.parametrize(
    ("begin", "end", "message"),
    [
        (0, 101, "prune_end: must be within the stage's 100 steps, got 101"),
        (60, 0.5, r"prune_end: must not come before prune_begin \(step 60 of 100\), got step 50"),
    ],
)
def test_a_span_that_does_not_fit_the_stage_is_refused(begin, end, message):
    with pytest.raises(ValueError, match=message):
        resolve_span(begin, end, 100)


def test_a_span_that_ends_before_it_begins_is_refused_where_it_shows():
    with pytest.raises(ValueError, match="prune_end: must not come before prune_begin"):
        check_span(0.5, 0.4)
    check_span(10, 0.5)


@pytest.mark.parametrize("count", [1, 3, 7, 36])
@pytest.mark.parametrize("span", [Span(0, 36), Span(4, 11), Span(5, 5)])
def test_rounds_are_all_done_at_the_end_and_never_undone(count, span):
    rounds = Rounds(span, count)
    done = [rounds.done(step) for step in range(40)]
    assert done == sorted(done)
    assert all(number == 0 for number in done[: span.begin])
    assert done[span.end] == count
    assert span.begin == span.end or done[span.end - 1] < count
    assert rounds.progress(0) == 0.0
    assert rounds.progress(count) == 1.0


@pytest.mark.parametrize("count", [1, 3, 36])
@pytest.mark.parametrize(
    "span", [Span(0, 36), Span(4, 5), Span(4, 11), Span(0, 0), Span(1, 1), Span(5, 5), Span(200, 200)]
)
def test_every_round_has_a_step_to_judge_by(span, count):
    rounds = Rounds(span, count)
    observed, done = 0, 0
    for step in range(max(1, span.end)):
        observed += step >= rounds.observed_from
        if rounds.done(step + 1) > done:
            assert observed > 0
            observed, done = 0, rounds.done(step + 1)
    assert done == count


def test_one_shot_judges_by_the_last_steps_before_it_and_rounds_by_those_of_their_span():
    assert Rounds(Span(500, 500), 1).observed_from == 500 - ONE_SHOT_STEPS
    assert Rounds(Span(7, 7), 1).observed_from == 0
    assert Rounds(Span(500, 501), 1).observed_from == 500


def test_a_history_keeps_a_bounded_number_of_snapshots_the_last_among_them():
    import torch

    for num_events in (1, 5, 64, 65, 200, 1000):
        history = History(num_events, 2)
        for event in range(1, num_events + 1):
            history.record(event, torch.full((2,), float(event)))
        events, values = history.filled()
        assert len(events) <= MOST_SNAPSHOTS
        assert len(events) >= min(num_events, MOST_SNAPSHOTS // 2)
        assert events[-1] == num_events
        assert torch.equal(values, events[:, None].expand(-1, 2).float())
