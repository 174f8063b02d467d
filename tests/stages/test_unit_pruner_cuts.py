import copy
import dataclasses

import pytest
import torch

from pipeline.surgery.cut_in_place import cut_in_place
from stages.prune_ffn.targets import GlobalTarget, LocalTarget
from stages.schedules import Rounds, Span
from stages.taylor import Taylor
from stages.unit_pruner import UnitPruner
from stages.weight_norm import WeightNorm

STEPS, SPAN = 24, Span(2, 18)


def make_pruner(layers, *, counts, scorer=None, cuts=True):
    groups = layers.channel_groups()
    rounds = Rounds(SPAN, 5)
    return UnitPruner(layers, groups, scorer=scorer or Taylor(layers, groups), counts=counts, rounds=rounds, cuts=cuts)


@pytest.fixture
def wide(layers):
    """Layers with so many channels that some can be cut."""
    torch.manual_seed(0)
    return type(layers)(channels=40)


@pytest.fixture
def run_cutting(run_steps):
    """Return a function that trains as ``run_steps`` does, and takes the pruner's cuts as the loop does."""

    def run(model, pruner, num_steps, *, first=0, optimizer=None, widths=None):
        optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)

        def cut(step):
            plan = pruner.take_cut()
            if plan is not None:
                cut_in_place(model, plan, optimizer=optimizer, groups=groups_of(model))
            assert pruner.take_cut() is None
            if widths is not None:
                widths.append([group.num_units for group in groups_of(model)])

        return run_steps(model, pruner, num_steps, first=first, optimizer=optimizer, after=cut)

    return run


def groups_of(model):
    """Return the channel groups at the widths that the weights have."""
    groups = zip(model.channel_groups(), model.ffn, strict=True)
    return [dataclasses.replace(group, num_units=ffn.narrow.weight.shape[1]) for group, ffn in groups]


@pytest.mark.parametrize("scorer", ["gate", "nni", "l1"])
@pytest.mark.parametrize(
    "counts", [GlobalTarget(0.8, 0.9), LocalTarget({"encoder.0.channels": 0.55, "encoder.1.channels": 1.0})]
)
def test_channels_cut_at_each_round_are_those_that_masks_take_and_leave_the_same_weights(
    wide, run_steps, run_cutting, scorer, counts
):
    masked, pruners = copy.deepcopy(wide), []
    for model, cuts in ((masked, False), (wide, True)):
        groups = model.channel_groups()
        own = WeightNorm(model, groups) if scorer == "l1" else Taylor(model, groups, form=scorer)
        pruners.append(make_pruner(model, counts=counts, scorer=own, cuts=cuts))
    run_steps(masked, pruners[0], STEPS)
    widths = []
    run_cutting(wide, pruners[1], STEPS, widths=widths)
    plan = pruners[1].finish()
    assert plan == pruners[0].finish()
    assert all(width % 8 == 0 for step in widths for width in step)
    assert len({sum(step) for step in widths}) >= 3
    assert [-(-len(kept.units) // 8) * 8 for kept in plan.values()] == widths[-1]
    assert [len(kept.units) for kept in pruners[1].in_place().values()] == widths[-1]
    for group, left, whole in zip(wide.channel_groups(), wide.ffn, masked.ffn, strict=True):
        units = list(pruners[1].in_place()[group.name].units)
        living = [place for place, unit in enumerate(units) if pruners[1].alive[group.name][unit]]
        torch.testing.assert_close(left.narrow.weight, whole.narrow.weight[:, units], atol=1e-5, rtol=1e-4)
        assert left.narrow.weight[:, living].count_nonzero() == left.narrow.weight.count_nonzero()
        torch.testing.assert_close(left.wide.weight[living], whole.wide.weight[units][living], atol=1e-5, rtol=1e-4)
        mine, theirs = (pruner.tensors()[f"importances.{group.name}"] for pruner in pruners[::-1])
        alive = theirs != 0 if scorer != "l1" else mine != 0
        torch.testing.assert_close(mine * alive, theirs * alive, atol=1e-6, rtol=1e-3)
        assert mine.shape == (5, 40)


def test_a_pruner_that_is_not_to_cut_leaves_everything_in_place(wide, run_steps):
    pruner = make_pruner(wide, counts=GlobalTarget(0.9), cuts=False)
    run_steps(wide, pruner, STEPS, after=lambda step: [pruner.take_cut()] == [None] or pytest.fail("it cut"))
    assert [len(kept.units) for kept in pruner.in_place().values()] == [40, 40]
    assert not any(name.startswith("in_place") for name in pruner.state_dict())


@pytest.mark.parametrize("middle", [6, 9, 13, 17, STEPS])
def test_a_cut_model_restored_at_its_width_ends_in_the_same_bits(wide, run_cutting, middle):
    fresh, counts = copy.deepcopy(wide), GlobalTarget(0.8, 0.9)
    pruner = make_pruner(wide, counts=counts)
    optimizer = run_cutting(wide, pruner, middle)
    saved, weights = pruner.state_dict(), copy.deepcopy(wide.state_dict())
    moments = copy.deepcopy(optimizer.state_dict())
    run_cutting(wide, pruner, STEPS - middle, first=middle, optimizer=optimizer)
    again = make_pruner(fresh, counts=counts)
    again.load_state_dict(saved)
    cut_in_place(fresh, again.in_place(), groups=fresh.channel_groups())
    fresh.load_state_dict(weights)
    optimizer = torch.optim.AdamW(fresh.parameters())
    optimizer.load_state_dict(moments)
    run_cutting(fresh, again, STEPS - middle, first=middle, optimizer=optimizer)
    assert (again.finish(), again.in_place()) == (pruner.finish(), pruner.in_place())
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in wide.state_dict().items())
    assert all(torch.equal(value, again.tensors()[name]) for name, value in pruner.tensors().items())


def test_a_cut_pruner_without_its_units_in_place_fits_no_model(wide, run_cutting):
    pruner = make_pruner(wide, counts=GlobalTarget(0.8, 0.9))
    fresh = make_pruner(copy.deepcopy(wide), counts=GlobalTarget(0.8, 0.9))
    whole = fresh.state_dict()
    run_cutting(wide, pruner, 13)
    state = pruner.state_dict()
    assert len(state["sum.encoder.0.channels"]) < 40
    with pytest.raises(ValueError, match=r"does not fit: sum\.encoder\.0\.channels must be .*\(40,\)"):
        fresh.load_state_dict({**state, "in_place.encoder.0.channels": whole["in_place.encoder.0.channels"]})
