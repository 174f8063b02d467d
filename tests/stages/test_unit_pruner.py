import copy
import itertools

import pytest
import torch

from stages import schedules
from stages.prune_ffn.targets import GlobalTarget, LocalTarget
from stages.schedules import Rounds, Span
from stages.taylor import Taylor
from stages.unit_pruner import UnitPruner
from stages.weight_norm import WeightNorm

STEPS, SPAN = 24, Span(2, 18)


def make_pruner(layers, *, rounds=5, counts=None, scorer=None, groups=None, span=SPAN):
    groups = groups or layers.channel_groups()
    return UnitPruner(
        layers,
        groups,
        scorer=scorer or Taylor(layers, groups),
        counts=counts or GlobalTarget(0.5),
        rounds=Rounds(span, rounds),
    )


def gone(pruner):
    return [int((~mask).sum()) for mask in pruner.alive.values()]


@pytest.mark.parametrize("rounds", [1, 5, 36])
@pytest.mark.parametrize(
    "counts", [GlobalTarget(0.6, 0.7), LocalTarget({"encoder.0.channels": 0.5, "encoder.1.channels": 1.0})]
)
def test_rounds_follow_the_cubic_schedule_and_end_exact(layers, run_steps, rounds, counts):
    pruner, seen = make_pruner(layers, rounds=rounds, counts=counts), []
    run_steps(layers, pruner, STEPS, after=lambda step: seen.append(sum(gone(pruner))))
    final = round(12 * 0.6) if isinstance(counts, GlobalTarget) else 3 + 6
    schedule = Rounds(SPAN, rounds)
    for step, number in enumerate(seen):
        assert abs(number - final * schedule.progress(schedule.done(step + 1))) <= 1
    assert seen[SPAN.begin - 1] == 0
    assert seen[SPAN.begin + 2] < final
    assert seen[SPAN.end - 1] == seen[-1] == final
    assert sum(kept.of - len(kept.units) for kept in pruner.finish().values()) == final


@pytest.mark.parametrize("scorer", [Taylor, WeightNorm])
def test_units_that_are_gone_stay_gone_and_are_read_by_nobody(layers, run_steps, scorer):
    pruner, before = make_pruner(layers, scorer=scorer(layers, layers.channel_groups())), set()

    def check(step):
        dead = {
            (layer, unit)
            for layer, mask in enumerate(pruner.alive.values())
            for unit in (~mask).nonzero()[:, 0].tolist()
        }
        assert before <= dead
        before.update(dead)
        for layer, ffn in enumerate(layers.ffn):
            columns = (ffn.narrow.weight == 0).all(dim=0).nonzero()[:, 0].tolist()
            assert [(layer, unit) for unit in columns] == sorted(pair for pair in dead if pair[0] == layer)

    run_steps(layers, pruner, STEPS, after=check)
    assert len(before) == 6


class Fickle(WeightNorm):
    """Finds most important whatever it found least important a round ago."""

    order = (1.0, -1.0)

    def importances(self):
        self.order = self.order[::-1]
        return {name: self.order[0] * torch.arange(6.0) for name in self._weights}


def test_a_unit_that_is_gone_does_not_come_back_however_important_it_looks(layers, run_steps):
    pruner, seen = make_pruner(layers, scorer=Fickle(layers, layers.channel_groups())), []
    run_steps(layers, pruner, STEPS, after=lambda step: seen.append(torch.cat(list(pruner.alive.values()))))
    assert all(not (later & ~earlier).any() for earlier, later in itertools.pairwise(seen))
    assert sum(gone(pruner)) == 6


def test_the_gradients_of_gone_units_are_zero_before_clipping(layers, inputs, run_steps):
    pruner = make_pruner(layers)
    run_steps(layers, pruner, STEPS)
    layers.zero_grad()
    layers.loss(inputs).backward()
    dead = ~pruner.alive["encoder.0.channels"]
    assert layers.ffn[0].narrow.weight.grad[:, dead].any()
    pruner.before_optimizer_step(STEPS)
    assert not layers.ffn[0].narrow.weight.grad[:, dead].any()
    assert not layers.ffn[0].wide.weight.grad[dead].any()
    assert layers.ffn[0].narrow.weight.grad[:, ~dead].all()


def test_each_round_judges_by_the_steps_since_the_last(layers, run_steps):
    pruner = make_pruner(layers, rounds=2)
    sums = []
    run_steps(layers, pruner, STEPS, after=lambda step: sums.append(int(pruner.state_dict()["observed"])))
    assert sums == [0, 0, *range(1, 8), 0, *range(1, 8), *[0] * 7]


@pytest.mark.parametrize("form", ["gate", "nni"])
@pytest.mark.parametrize("rounds", [1, 5])
@pytest.mark.parametrize("place", [0, 1, 12, STEPS])
def test_a_span_without_length_removes_the_least_important_units_at_once(layers, run_steps, place, rounds, form):
    with torch.no_grad():
        for ffn in layers.ffn:
            ffn.narrow.weight[:, 3:] *= 1e-3
            ffn.wide.weight[3:] *= 1e-3
    groups, seen = layers.channel_groups(), []
    scorer = Taylor(layers, groups, form=form)
    pruner = make_pruner(layers, rounds=rounds, scorer=scorer, span=Span(place, place))
    still = torch.optim.SGD(layers.parameters(), lr=0.0)
    run_steps(layers, pruner, STEPS, optimizer=still, after=lambda step: seen.append(sum(gone(pruner))))
    before = max(1, place) - 1
    assert seen == [0] * before + [6] * (STEPS - before)
    assert [kept.units for kept in pruner.finish().values()] == [(0, 1, 2)] * 2


def test_one_shot_judges_by_a_bounded_number_of_steps_just_before_it(layers, run_steps, monkeypatch):
    monkeypatch.setattr(schedules, "ONE_SHOT_STEPS", 4)
    pruner, seen = make_pruner(layers, rounds=1, span=Span(12, 12)), []
    run_steps(layers, pruner, STEPS, after=lambda step: seen.append(int(pruner.state_dict()["observed"])))
    assert seen == [0] * 8 + [1, 2, 3] + [0] * (STEPS - 11)


def test_one_shot_removes_everything_at_the_end_of_the_span(layers, run_steps):
    pruner, seen = make_pruner(layers, rounds=1), []
    run_steps(layers, pruner, STEPS, after=lambda step: seen.append(sum(gone(pruner))))
    assert seen == [0] * (SPAN.end - 1) + [6] * (STEPS - SPAN.end + 1)


@pytest.mark.parametrize("middle", [1, 6, 9, 17, STEPS])
def test_a_pruner_restored_mid_interval_ends_with_identical_masks_and_weights(layers, run_steps, middle):
    pruner = make_pruner(layers)
    optimizer = run_steps(layers, pruner, middle)
    other, saved, moments = copy.deepcopy(layers), pruner.state_dict(), copy.deepcopy(optimizer.state_dict())
    run_steps(layers, pruner, STEPS - middle, first=middle, optimizer=optimizer)
    again = make_pruner(other)
    again.load_state_dict(saved)
    optimizer = torch.optim.AdamW(other.parameters())
    optimizer.load_state_dict(moments)
    run_steps(other, again, STEPS - middle, first=middle, optimizer=optimizer)
    assert again.finish() == pruner.finish()
    assert all(
        torch.equal(a, b) for a, b in zip(layers.state_dict().values(), other.state_dict().values(), strict=True)
    )
    assert all(torch.equal(value, again.tensors()[name]) for name, value in pruner.tensors().items())


def test_each_tensor_of_the_state_is_needed_and_no_other_fits(layers, run_steps):
    pruner = make_pruner(layers)
    run_steps(layers, pruner, 8)
    state = pruner.state_dict()
    fresh = make_pruner(layers).state_dict()
    assert all(not torch.equal(state[name], fresh[name]) for name in state if not name.startswith("alive.encoder.1"))
    for name in state:
        with pytest.raises(ValueError, match=name):
            make_pruner(layers).load_state_dict({other: value for other, value in state.items() if other != name})
        with pytest.raises(ValueError, match="does not fit"):
            make_pruner(layers).load_state_dict({**state, name: torch.zeros(3, 3, 3)})


def test_importances_of_every_round_are_kept(layers, run_steps):
    pruner = make_pruner(layers)
    run_steps(layers, pruner, STEPS)
    tensors = pruner.tensors()
    assert tensors["importances.rounds"].tolist() == [1, 2, 3, 4, 5]
    history = tensors["importances.encoder.0.channels"]
    assert history.shape == (5, 6)
    assert history[0].all()
    assert not history[-1][~pruner.alive["encoder.0.channels"]].all()


def test_weight_norm_is_that_of_producer_rows_and_consumer_columns(layers):
    attention = layers.attention[1]
    found = WeightNorm(layers, layers.head_groups()).importances()["encoder.1.heads"]
    for head in range(4):
        own = slice(2 * head, 2 * head + 2)
        rows = sum(part.weight[own].abs().sum() for part in (attention.q, attention.k, attention.v))
        torch.testing.assert_close(found[head], (rows + attention.o.weight[:, own].abs().sum()).detach())


def test_the_heads_of_least_weight_go_first(layers, run_steps):
    with torch.no_grad():
        for part in ("q", "k", "v"):
            getattr(layers.attention[0], part).weight[2:4] *= 1e-3
        layers.attention[0].o.weight[:, 2:4] *= 1e-3
    groups = layers.head_groups()
    still = torch.optim.SGD(layers.parameters(), lr=0.0)
    pruner = make_pruner(layers, groups=groups, scorer=WeightNorm(layers, groups), counts=GlobalTarget(1 / 8))
    run_steps(layers, pruner, STEPS, optimizer=still)
    assert pruner.finish()["encoder.0.heads"].units == (0, 2, 3)
    assert pruner.finish()["encoder.1.heads"].units == (0, 1, 2, 3)


def test_layers_without_units_are_left_alone(layers, run_steps):
    groups = (
        *layers.channel_groups()[:1],
        type(layers.channel_groups()[1])(**{**vars(layers.channel_groups()[1]), "num_units": 0}),
    )
    pruner = make_pruner(layers, groups=groups)
    run_steps(layers, pruner, STEPS)
    assert list(pruner.finish()) == ["encoder.0.channels"]
