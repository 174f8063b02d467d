import pytest

from pipeline.training.schedules import cubic_sparsity, learning_rate, warmup_steps


def factors(schedule, warmup, total):
    return [learning_rate(step, schedule=schedule, warmup=warmup, total=total) for step in range(total + 1)]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "inverse_sqrt"])
@pytest.mark.parametrize("warmup", [4, 0.4])
def test_warmup_climbs_in_equal_parts_to_one(schedule, warmup):
    assert factors(schedule, warmup, 10)[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize(("schedule", "end"), [("linear", 0.0), ("cosine", 0.0), ("constant", 1.0)])
def test_a_schedule_begins_at_one_and_hits_its_end(schedule, end):
    found = factors(schedule, 0, 10)
    assert found[0] == 1.0
    assert found[10] == pytest.approx(end)
    assert learning_rate(99, schedule=schedule, warmup=0, total=10) == pytest.approx(end)


def test_linear_and_cosine_are_half_way_down_in_the_middle_of_what_follows_the_warmup():
    for schedule in ("linear", "cosine"):
        assert learning_rate(7, schedule=schedule, warmup=4, total=10) == pytest.approx(0.5)


def test_linear_falls_by_equal_parts():
    found = factors("linear", 0, 5)
    assert found == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.0])


def test_inverse_sqrt_halves_when_the_steps_are_four_times_the_warmup():
    assert learning_rate(15, schedule="inverse_sqrt", warmup=4, total=100) == pytest.approx(0.5)
    assert learning_rate(3, schedule="inverse_sqrt", warmup=0, total=100) == pytest.approx(0.5)


def test_no_schedule_ever_rises_after_the_warmup():
    for schedule in ("linear", "cosine", "constant", "inverse_sqrt"):
        found = factors(schedule, 3, 50)[3:]
        assert found == sorted(found, reverse=True)


def test_an_integer_warmup_counts_steps_and_a_float_is_a_share():
    assert warmup_steps(1, 100) == 1
    assert warmup_steps(1.0, 100) == 100
    assert warmup_steps(0.05, 100) == 5


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="got 'step'"):
        learning_rate(0, schedule="step", warmup=0, total=1)


def test_cubic_sparsity_hits_its_ends_and_never_falls():
    found = [cubic_sparsity(step, start=10, end=20, final=0.5) for step in range(30)]
    assert found[10] == 0.0
    assert found[11] > 0
    assert found[15] == pytest.approx(0.5 * (1 - 0.5**3))
    assert found[19] < 0.5
    assert set(found[20:]) == {0.5}
    assert found == sorted(found)


def test_cubic_sparsity_without_a_span_jumps_to_its_end():
    assert cubic_sparsity(3, start=3, end=3, final=0.5) == 0.5
    assert cubic_sparsity(2, start=3, end=3, final=0.5) == 0.0
