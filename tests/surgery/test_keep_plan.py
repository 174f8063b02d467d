import json

import pytest

from pipeline.surgery.keep_plan import KeepPlan, Kept


def test_units_after_a_later_cut_are_counted_in_the_first_model():
    assert Kept(6, (0, 2, 4, 5)).then(Kept(4, (1, 3))) == Kept(6, (2, 5))


def test_a_plan_then_another_keeps_the_groups_that_only_one_of_them_names():
    first = KeepPlan({"a": Kept(4, (0, 1, 3)), "b": Kept(2, (1,))})
    later = KeepPlan({"a": Kept(3, (2,)), "c": Kept(5, ())})
    assert first.then(later) == KeepPlan({"a": Kept(4, (3,)), "b": Kept(2, (1,)), "c": Kept(5, ())})


def test_a_plan_survives_json():
    plan = KeepPlan({"encoder.0.heads": Kept(4, (0, 3)), "encoder.0.channels": Kept(3, ())})
    assert KeepPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize("units", [(1, 0), (0, 0), (-1,), (4,)])
def test_indices_that_cannot_be_are_refused(units):
    with pytest.raises(ValueError, match="increasing indices"):
        Kept(4, units)


def test_a_later_cut_that_counts_other_units_is_refused():
    with pytest.raises(ValueError, match="counts 3 units, but 2 were kept"):
        Kept(4, (0, 1)).then(Kept(3, (0,)))


@pytest.mark.parametrize(
    ("earlier", "whole"),
    [
        (KeepPlan({}), KeepPlan({"a": Kept(4, (0, 3))})),
        (KeepPlan({"a": Kept(4, (0, 2, 3))}), KeepPlan({"a": Kept(4, (0, 3)), "b": Kept(2, ())})),
        (KeepPlan({"a": Kept(4, (0, 3))}), KeepPlan({"a": Kept(4, (0, 3))})),
        (KeepPlan({"a": Kept(4, (1,))}), KeepPlan({"a": Kept(4, ())})),
    ],
)
def test_what_is_left_of_a_plan_after_an_earlier_cut_leads_to_the_same_units(earlier, whole):
    left = whole.after(earlier)
    assert earlier.then(left) == whole
    assert all(kept.of == len(earlier[name].units) for name, kept in left.items() if name in earlier)


@pytest.mark.parametrize(
    ("earlier", "message"),
    [
        ({"a": Kept(4, (0, 1))}, "unit 3 is to stay, but the earlier cut removed it"),
        ({"a": Kept(5, (0, 3))}, "the earlier cut counts 5 units, this one 4"),
        ({"b": Kept(2, (0,))}, "b was cut before, and this plan says nothing of it"),
    ],
)
def test_a_plan_cannot_follow_a_cut_that_took_what_it_keeps(earlier, message):
    with pytest.raises(ValueError, match=message):
        KeepPlan({"a": Kept(4, (0, 3))}).after(KeepPlan(earlier))
