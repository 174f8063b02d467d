import itertools

import pytest
import torch

from stages.budget_search import share_budget

HEAD, CHANNEL = 7, 3


def draw(seed, heads=(2, 3), channels=(3, 2)):
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        {f"encoder.{layer}.{kind}": torch.rand(size, generator=generator) for layer, size in enumerate(sizes)}
        for kind, sizes in (("heads", heads), ("channels", channels))
    ]
    return drawn[0], {name: values * 0.5 for name, values in drawn[1].items()}


def search(heads, channels, budget):
    return share_budget(heads, channels, cost_per_head=HEAD, cost_per_channel=CHANNEL, budget=budget)


def cost(plan):
    return sum(len(kept.units) * (HEAD if "heads" in name else CHANNEL) for name, kept in plan.items())


def worth(plan, heads, channels):
    return sum(float({**heads, **channels}[name][unit].double()) for name, kept in plan.items() for unit in kept.units)


def best_of_all_subsets(heads, channels, budget):
    units = [(HEAD, float(value)) for values in heads.values() for value in values]
    units += [(CHANNEL, float(value)) for values in channels.values() for value in values]
    return max(
        sum(value for is_kept, (_, value) in zip(choice, units, strict=True) if is_kept)
        for choice in itertools.product((False, True), repeat=len(units))
        if sum(macs for is_kept, (macs, _) in zip(choice, units, strict=True) if is_kept) <= budget
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("budget", [0, 2, 3, 7, 16, 25, 31, 49, 50, 1000])
def test_no_subset_of_units_within_the_budget_matters_more(seed, budget):
    heads, channels = draw(seed)
    plan = search(heads, channels, budget)
    assert cost(plan) <= budget
    assert worth(plan, heads, channels) == pytest.approx(best_of_all_subsets(heads, channels, budget), abs=1e-9)


def test_a_budget_for_all_keeps_all_and_none_keeps_none():
    heads, channels = draw(0)
    assert all(len(kept.units) == kept.of for kept in search(heads, channels, 5 * HEAD + 5 * CHANNEL).values())
    assert not any(kept.units for kept in search(heads, channels, 2).values())


def test_heads_and_channels_compete_by_what_they_matter_for_their_cost():
    heads, channels = draw(0)
    loud = {name: values * 100 for name, values in heads.items()}
    kept = search(loud, channels, 2 * HEAD + CHANNEL)
    assert sum(len(each.units) for name, each in kept.items() if "heads" in name) == 2
    kept = search({name: values / 100 for name, values in heads.items()}, channels, 2 * HEAD + CHANNEL)
    assert sum(len(each.units) for name, each in kept.items() if "channels" in name) == 5


def test_equal_importances_go_to_the_first_units_every_time():
    heads, channels = ({f"{kind}.0": torch.ones(3), f"{kind}.1": torch.ones(3)} for kind in ("heads", "channels"))
    plan = search(heads, channels, HEAD + 6 * CHANNEL)
    assert [kept.units for kept in plan.values()] == [(0,), (), (0, 1, 2), (0, 1, 2)]


def test_groups_without_units_or_no_heads_at_all_are_no_obstacle():
    _, channels = draw(0)
    plan = search({"encoder.0.heads": torch.zeros(0)}, channels, 2 * CHANNEL)
    assert plan["encoder.0.heads"].of == 0
    assert cost(plan) == 2 * CHANNEL
    assert cost(search({}, channels, 2 * CHANNEL)) == 2 * CHANNEL


@pytest.mark.parametrize("wrong", [-0.1, float("nan")])
def test_importances_that_cannot_be_summed_up_are_refused(wrong):
    heads, channels = draw(0)
    channels["encoder.1.channels"][0] = wrong
    with pytest.raises(ValueError, match=r"encoder\.1\.channels: importances must be numbers and not negative"):
        search(heads, channels, 10)
    with pytest.raises(ValueError, match="got 7, 3 and -1"):
        search(*draw(0), -1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("budget", [21, 24, 31, 40])
def test_no_subset_that_keeps_the_least_of_each_group_matters_more(seed, budget):
    heads, channels = draw(seed)
    importances = {**heads, **channels}
    least = {"encoder.0.heads": 1, "encoder.1.channels": 1, "encoder.1.heads": 1}
    plan = share_budget(heads, channels, cost_per_head=HEAD, cost_per_channel=CHANNEL, budget=budget, least=least)
    assert cost(plan) <= budget
    assert all(len(plan[name].units) >= count for name, count in least.items())
    units = [(name, index) for name, values in importances.items() for index in range(len(values))]
    best = 0.0
    for choice in itertools.product((False, True), repeat=len(units)):
        kept = [unit for is_kept, unit in zip(choice, units, strict=True) if is_kept]
        names = [name for name, _ in kept]
        spent = sum(HEAD if "heads" in name else CHANNEL for name in names)
        if spent <= budget and all(names.count(name) >= count for name, count in least.items()):
            best = max(best, sum(float(importances[name][index]) for name, index in kept))
    assert worth(plan, heads, channels) == pytest.approx(best, abs=1e-9)


def test_a_budget_below_what_has_to_stay_is_refused():
    heads, channels = draw(0)
    with pytest.raises(ValueError, match=r"budget must be at least 14, .* got 13"):
        share_budget(
            heads, channels, cost_per_head=HEAD, cost_per_channel=CHANNEL, budget=13, least={"encoder.0.heads": 2}
        )
