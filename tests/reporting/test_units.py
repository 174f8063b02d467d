from pipeline.reporting.units import units_kept, units_per_layer
from pipeline.surgery.keep_plan import KeepPlan, Kept


def test_layers_come_in_their_order_past_ten():
    plan = KeepPlan({f"encoder.{layer}.heads": Kept(12, tuple(range(layer))) for layer in reversed(range(12))})
    assert units_kept([plan]) == [{"heads": tuple(range(12))}]
    assert list(units_per_layer(plan))[-1] == ("encoder", 11)


def test_what_no_plan_of_a_stage_names_is_whole_there():
    heads = KeepPlan({"encoder.0.heads": Kept(4, (0,))})
    both = heads.then(KeepPlan({"encoder.0.channels": Kept(8, ())}))
    assert units_kept([None, heads, both]) == [
        {"heads": (4,), "channels": (8,)},
        {"heads": (1,), "channels": (8,)},
        {"heads": (1,), "channels": (0,)},
    ]


def test_a_run_that_cut_nothing_knows_no_units():
    assert units_kept([None, None]) == [{}, {}]
