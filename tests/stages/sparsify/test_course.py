import math

import pytest

from stages.sparsify.config import SparsitySchedule
from stages.sparsify.course import Course, resolve_course

KINDS = ("one_shot", "constant", "polynomial", "linear", "cos", "exp", "cube")


def course(kind="polynomial", *, power=3.0, begin=10, end=50, every=7, initial=0.1, final=0.8):
    return Course(kind, power, begin, begin if kind == "one_shot" else end, every, initial, final)


FORMULAS = {
    "one_shot": lambda p: 0.8,
    "constant": lambda p: 0.8,
    "polynomial": lambda p: 0.8 + (0.1 - 0.8) * (1 - p) ** 3,
    "linear": lambda p: 0.1 + 0.7 * p,
    "cos": lambda p: 0.1 + 0.7 * (1 - math.cos(math.pi * p / 2)),
    "exp": lambda p: 1 - 0.9 * (0.2 / 0.9) ** p,
    "cube": lambda p: 0.1 + 0.7 * p**3,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_schedule_is_its_formula_between_its_ends_nothing_before_and_its_target_after(kind):
    found = course(kind)
    assert [found.share(step) for step in (0, 9)] == [0.0, 0.0]
    for step in range(10, 50):
        assert found.share(step) == pytest.approx(FORMULAS[kind]((step - 10) / 40))
    assert [found.share(step) for step in (50, 51, 1000)] == [0.8] * 3


@pytest.mark.parametrize("kind", ["polynomial", "linear", "cos", "exp", "cube"])
def test_schedules_that_climb_begin_at_the_initial_share(kind):
    assert course(kind).share(10) == pytest.approx(0.1)
    assert [course(kind).share(step) for step in range(10, 51)] == sorted(course(kind).share(s) for s in range(10, 51))


def test_the_power_is_the_polynomials_own():
    assert course(power=1.0).share(30) == pytest.approx(course("linear").share(30))
    assert course(power=2.0).share(30) == pytest.approx(0.8 - 0.7 * 0.25)


@pytest.mark.parametrize("every", [1, 7, 40, 41, 1000])
def test_masks_are_chosen_anew_each_so_many_steps_and_at_the_end_always(every):
    due = [step for step in range(100) if course(every=every).is_due(step)]
    assert due == sorted({*range(10, 51, every), 50})


def test_what_is_due_at_once_comes_after_the_first_step():
    assert [step for step in range(9) if course(begin=0, end=6, every=4).is_due(step)] == [1, 4, 6]
    assert [step for step in range(9) if course("one_shot", begin=0).is_due(step)] == [1]


def test_one_shot_happens_once_where_it_begins():
    assert [step for step in range(99) if course("one_shot", every=2).is_due(step)] == [10]


def test_shares_are_of_the_stage_and_integers_are_steps():
    found = resolve_course(SparsitySchedule(begin=0.1, end=150), 0.0, 0.5, 200)
    assert (found.begin, found.end) == (20, 150)
    assert resolve_course(SparsitySchedule(begin=3, end=9), 0.0, 0.5, None).end == 9


@pytest.mark.parametrize(
    ("schedule", "num_steps", "message"),
    [
        ({"end": 201}, 200, r"schedule\.end: must be within the stage's 200 steps, got 201"),
        ({"begin": 180}, 200, r"schedule\.end: must not come before schedule\.begin \(step 180 of 200\), got step 140"),
        ({}, None, "num_steps: must be given"),
    ],
)
def test_schedules_that_do_not_fit_the_steps_are_refused(schedule, num_steps, message):
    with pytest.raises(ValueError, match=message):
        resolve_course(SparsitySchedule(**schedule), 0.0, 0.5, num_steps)
