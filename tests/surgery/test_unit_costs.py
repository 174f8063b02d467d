import pytest

from pipeline.reporting.profile import macs, parameters
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept
from pipeline.surgery.unit_costs import channel_macs, unit_macs, unit_parameters

NUM_TOKENS = {"vit": 5, "deit": 6}


def with_units(model, group, units):
    return condense(model, KeepPlan({group.name: Kept(group.num_units, tuple(range(units)))}))


@pytest.mark.parametrize("index", [0, 1])
def test_a_unit_costs_what_a_model_without_it_is_cheaper(family, tiny_model, tiny_batch, index):
    model, batch, num_tokens = tiny_model(family), tiny_batch(family), NUM_TOKENS.get(family, 7)
    group = dissect(model)[index]
    smaller = with_units(model, group, group.num_units - 1)
    assert parameters(model) - parameters(smaller) == unit_parameters(model, group)
    assert macs(model, batch) - macs(smaller, batch) == unit_macs(model, group, num_tokens)


@pytest.mark.parametrize("index", [0, 1])
def test_a_unit_costs_the_same_where_none_is_left(tiny_model, index):
    model = tiny_model("bert")
    group, empty = dissect(model)[index], with_units(model, dissect(model)[index], 0)
    assert unit_parameters(empty, dissect(empty)[index]) == unit_parameters(model, group)
    assert unit_macs(empty, dissect(empty)[index], 7) == unit_macs(model, group, 7)


def test_a_gated_channel_has_three_matrices():
    assert channel_macs(num_tokens=5, hidden_size=7, num_matrices=3) == 3 * 5 * 7
