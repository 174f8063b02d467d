from types import SimpleNamespace

import pytest

from pipeline.forecast.costs import FirstModel
from pipeline.forecast.units import Units
from pipeline.reporting.profile import macs, parameters
from pipeline.surgery.condense import condense
from pipeline.surgery.keep_plan import KeepPlan, Kept


class Split:
    """The rows of one batch, over and over."""

    def __init__(self, batch):
        self.rows = batch

    def __len__(self):
        return len(next(iter(self.rows.values())))

    def batch(self, rows):
        return {name: value[list(rows)] for name, value in self.rows.items()}


@pytest.fixture
def first(family, tiny_model, tiny_batch):
    return FirstModel(tiny_model(family), SimpleNamespace(validation={"validation": Split(tiny_batch(family))}))


def test_forecast_costs_are_those_of_a_model_cut_so_whichever_layers_lose_the_units(first, family, tiny_batch):
    costs = first.costs({"heads": Units(5), "channels": Units(30)})
    for heads, channels in (((4, 1), (24, 6)), ((1, 4), (15, 15)), ((2, 3), (6, 24))):
        counts = {f"encoder.{layer}.heads": (4, heads[layer]) for layer in (0, 1)}
        counts |= {f"encoder.{layer}.channels": (24, channels[layer]) for layer in (0, 1)}
        cut = condense(first.model, KeepPlan({name: Kept(of, tuple(range(n))) for name, (of, n) in counts.items()}))
        assert (costs.parameters, costs.macs) == (parameters(cut), macs(cut, tiny_batch(family)))
    assert 0 < costs.encoder_sparsity < 1


def test_the_first_model_costs_what_it_costs(first, family, tiny_batch):
    costs = first.costs(first.units())
    assert (costs.parameters, costs.macs) == (parameters(first.model), macs(first.model, tiny_batch(family)))
    assert costs.encoder_sparsity == 0.0


def test_what_training_sets_has_no_costs_yet(first):
    assert first.costs({"heads": None, "channels": Units(30)}) is None
