import copy

import pytest
import torch
from torch import nn

from stages.sparsify import Sparsifier

STEPS = 20


@pytest.mark.parametrize("criterion", ["magnitude", "snip", "snip_momentum"])
@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize(("pattern", "block"), [("1x1", 1), ("4x1", 4), ("1x4", 4), ("2:4", 2), ("1:4", 3)])
def test_the_share_follows_the_schedule_to_one_block_and_ends_exact(
    mlp, criterion, scope, pattern, block, steps, make, zeros
):
    pruner = make(mlp, criterion=criterion, scope=scope, pattern=pattern, sparsity=0.45)
    course, seen = pruner._courses[0], []

    def check(step):
        removed, total = zeros(mlp, pruner)
        seen.append(removed)
        if course.is_due(step + 1):
            assert abs(removed - course.share(step + 1) * total) <= block / 2
        else:
            assert removed == (seen[-2] if len(seen) > 1 else 0)

    steps(mlp, pruner, after=check)
    assert seen[-1] == block * round(0.45 * zeros(mlp, pruner)[1] / block)
    assert pruner.logs() == {"weights_removed": pytest.approx(0.45, abs=block / 1000)}


@pytest.mark.parametrize("every", [1, 4, 7, 1000])
def test_the_end_is_exact_whatever_the_interval_is(mlp, every, steps, make, zeros):
    pruner, seen = make(mlp, sparsity=0.8, schedule={"every": every, "end": 0.7}), []
    steps(mlp, pruner, after=lambda step: seen.append(zeros(mlp, pruner)[0]))
    assert seen[12] < seen[13] == round(0.8 * 1472)
    assert set(seen[13:]) == {round(0.8 * 1472)}


@pytest.mark.parametrize("pattern", ["1x1", "4x1", "2:4", "channelx1", "1xchannel"])
@pytest.mark.parametrize("criterion", ["magnitude", "snip_momentum"])
def test_every_kind_of_layer_is_pruned_in_its_pattern(small, pattern, criterion, steps, make, zeros):
    pruner = make(small, pattern=pattern, criterion=criterion, sparsity=0.5)
    steps(small, pruner)
    pruner.finish()
    masks, parameters = pruner.masks(), dict(small.named_parameters())
    assert "classifier.weight" not in masks
    assert {"conv.weight", "lstm.weight_hh_l0", "gru.weight_ih_l0", "transposed.weight", "attention.in_proj_weight"} - (
        masks.keys()
    ) == ({"conv.weight"} if pattern == "2:4" else set())
    assert all(torch.equal(parameters[name] != 0, mask) for name, mask in masks.items())
    removed, total = zeros(small, pruner)
    largest = max(p.shape[0] for p in parameters.values()) if "channel" in pattern else 4
    assert abs(removed / total - 0.5) <= largest / total


def test_no_mask_changes_before_the_beginning_or_after_the_end(mlp, steps, make):
    pruner, seen = make(mlp, schedule={"begin": 5, "end": 9, "every": 1}), []
    steps(mlp, pruner, after=lambda step: seen.append(torch.cat([m.flatten() for m in pruner.masks().values()])))
    assert all(mask.all() for mask in seen[:5])
    assert not seen[8].all()
    assert all(torch.equal(mask, seen[8]) for mask in seen[9:])


@pytest.mark.parametrize(("reduce", "left"), [("mean", [8, 8]), ("sum", [0, 16])])
def test_blocks_of_different_sizes_compare_by_their_mean_or_by_their_sum(reduce, left):
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 8))
    with torch.no_grad():
        model[0].weight.fill_(1.0)  # four columns of 2: each a mean of 1 and a sum of 2
        model[1].weight.fill_(0.5)  # two columns of 8: each a mean of 0.5 and a sum of 4
    settings = {"pattern": "channelx1", "criterion": "magnitude", "sparsity": 1 / 3, "max_sparsity_per_layer": 1.0}
    pruner = Sparsifier(model, {**settings, "reduce": reduce, "schedule": {"kind": "one_shot"}}, num_steps=1)
    pruner.after_optimizer_step(0, 0.0)
    assert [int(torch.count_nonzero(layer.weight)) for layer in model] == left


@pytest.mark.parametrize(("scope", "shares"), [("global", [1.0, 0.29, 0.0]), ("local", [0.5, 0.5, 0.5])])
def test_one_ranking_takes_from_where_little_is_lost_and_local_ones_from_each_layer_alike(mlp, scope, shares):
    with torch.no_grad():
        for layer, size in ((mlp[0], 1e-3), (mlp[2], 1.0), (mlp[4], 1e3)):
            layer.weight.mul_(size)
    settings = {"criterion": "magnitude", "scope": scope, "max_sparsity_per_layer": 1.0}
    pruner = Sparsifier(mlp, {**settings, "schedule": {"kind": "one_shot"}}, num_steps=1)
    pruner.after_optimizer_step(0, 0.0)
    found = [float((mlp[index].weight == 0).float().mean()) for index in (0, 2, 4)]
    assert found == pytest.approx(shares, abs=0.005)


def test_the_span_is_from_the_first_beginning_to_the_last_mask_that_changes(mlp, make):
    groups = [
        {"include": ["^0$"], "schedule": {"begin": 2, "end": 18}},
        {"include": ["^2$"], "pattern_lock": True, "schedule": {"begin": 0, "end": 20}},
    ]
    assert make(mlp, schedule={"begin": 4, "end": 9}, groups=groups).span() == (2, 18)
    assert make(mlp, schedule={"kind": "one_shot", "begin": 7}).span() == (7, 7)
    assert make(mlp, pattern_lock=True).span() is None


def test_what_is_asked_for_is_of_all_weights_touched_those_of_groups_and_locks_too(mlp, steps, make):
    with torch.no_grad():
        mlp[2].weight[:12] = 0.0
    groups = [{"include": ["^0$"], "sparsity": 0.25}, {"include": ["^2$"], "pattern_lock": True}]
    pruner = make(mlp, sparsity=0.75, schedule={"kind": "one_shot", "begin": 5}, groups=groups)
    assert pruner.num_touched == 1472
    assert [pruner.asked(step) * 1472 for step in (4, 5)] == pytest.approx([384, 384 + 128 + 144])
    steps(mlp, pruner)
    assert pruner.logs()["weights_removed"] == pytest.approx(pruner.asked(20))


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"schedule": {"end": 4}}, {"sparsity": 0.8}),
        ({"schedule": {"end": 18}}, {"end_step": 8}),
        ({"schedule": {"kind": "one_shot", "begin": 15}}, {"start_step": 5}),
    ],
)
def test_a_change_that_comes_too_late_is_refused_and_changes_nothing(mlp, steps, make, settings, changed):
    pruner, twin = make(mlp, sparsity=0.5, **settings), copy.deepcopy(mlp)
    other = make(twin, sparsity=0.5, **settings)

    def change(step):
        if step == 10:
            with pytest.raises(ValueError, match="schedule: must end after step 11, which is reached, got "):
                pruner.update(**changed)

    steps(mlp, pruner, after=change)
    steps(twin, other)
    assert all(torch.equal(a, b) for a, b in zip(mlp.parameters(), twin.parameters(), strict=True))
    assert pruner.asked(20) == other.asked(20)


def test_disabled_is_dense(mlp, steps, make):
    pruner, twin = make(mlp, enabled=False, sparsity=0.9), copy.deepcopy(mlp)
    steps(mlp, pruner)
    steps(twin, make(twin, enabled=False))
    assert all(torch.equal(a, b) for a, b in zip(mlp.parameters(), twin.parameters(), strict=True))
    assert not (mlp[0].weight == 0).any()
    assert (pruner.finish(), pruner.logs(), pruner.state_dict(), pruner.span()) == (None, {}, {}, None)


def test_a_lock_keeps_a_checkpoints_zeros_and_trains_the_rest(mlp, steps, make):
    with torch.no_grad():
        mlp[2].weight[::2, ::3] = 0.0
    before = mlp[2].weight.detach() == 0
    pruner = make(mlp, pattern_lock=True)
    steps(mlp, pruner, after=lambda step: None)
    assert torch.equal(mlp[2].weight == 0, before)
    assert not (mlp[0].weight == 0).any()


def test_group_lasso_leaves_locked_layers_to_the_training(mlp, make):
    groups = [{"include": ["^2$"], "pattern_lock": True}]
    pruner = make(mlp, group_lasso=5.0, sparsity=0.0, groups=groups)
    locked, chosen = (mlp[layer].weight.detach().clone() for layer in (2, 0))
    pruner.after_optimizer_step(0, 0.1)
    assert torch.equal(mlp[2].weight, locked)
    assert mlp[0].weight.norm() < chosen.norm()


def test_group_lasso_shrinks_blocks_only_up_to_the_end(mlp, steps, make):
    def norm(alpha, end):
        model = copy.deepcopy(mlp)
        pruner = make(model, pattern="4x1", sparsity=0.0, group_lasso=alpha, schedule={"end": end})
        steps(model, pruner, lr=1e-3)
        return float(model[2].weight.detach().norm())

    assert norm(5.0, 1.0) < norm(5.0, 0.5) < norm(0.0, 0.5)


@pytest.mark.parametrize("criterion", ["magnitude", "snip", "snip_momentum"])
@pytest.mark.parametrize("pattern", ["1x1", "4x1", "2:4"])
@pytest.mark.parametrize("kind", ["polynomial", "constant"])
def test_what_is_gone_does_not_come_back(mlp, criterion, pattern, kind, steps, make):
    fallen = []
    pruner = make(mlp, criterion=criterion, pattern=pattern, sparsity=0.5, schedule={"every": 1, "kind": kind})

    def check(step):
        gone = ~torch.cat([mask.flatten() for mask in pruner.masks().values()])
        assert not fallen or bool((gone >= fallen[-1]).all())
        fallen.append(gone)

    steps(mlp, pruner, after=check)


@pytest.mark.parametrize("criterion", ["magnitude", "snip", "snip_momentum"])
@pytest.mark.parametrize("pattern", ["1x1", "4x1", "2:4"])
@pytest.mark.parametrize("middle", [1, 8, 13, 17])
def test_a_pruner_restored_in_the_middle_ends_with_identical_masks_and_weights(
    mlp, criterion, pattern, middle, steps, make
):
    settings = {"criterion": criterion, "pattern": pattern, "group_lasso": 0.01}
    pruner = make(mlp, **settings)
    optimizer = steps(mlp, pruner, middle)
    other, saved, moments = copy.deepcopy(mlp), pruner.state_dict(), copy.deepcopy(optimizer.state_dict())
    assert all(tensor.dtype == torch.bool for name, tensor in saved.items() if name.startswith("kept."))
    steps(mlp, pruner, STEPS - middle, first=middle, optimizer=optimizer)
    again = make(other, **settings)
    again.load_state_dict(saved)
    optimizer = torch.optim.AdamW(other.parameters())
    optimizer.load_state_dict(moments)
    steps(other, again, STEPS - middle, first=middle, optimizer=optimizer)
    assert all(torch.equal(a, b) for a, b in zip(mlp.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in pruner.state_dict().items())


def test_restoring_masks_the_weights_and_takes_no_other_state(mlp, steps, make, zeros):
    pruner, fresh = make(mlp, sparsity=0.8), copy.deepcopy(mlp)
    steps(mlp, pruner)
    state = pruner.state_dict()
    again = make(fresh, sparsity=0.8)
    again.load_state_dict(state)
    assert zeros(fresh, again) == zeros(mlp, pruner)
    assert again.logs() == pruner.logs()
    for name in state:
        with pytest.raises(ValueError, match=name):
            make(fresh).load_state_dict({other: value for other, value in state.items() if other != name})
        with pytest.raises(ValueError, match="does not fit"):
            make(fresh).load_state_dict({**state, name: torch.zeros(3)})


def test_settings_can_change_after_construction(mlp, steps, zeros):
    pruner = Sparsifier(mlp, {"schedule": {"begin": 0, "end": 10}, "sparsity": 0.3, "groups": [{"include": ["^4"]}]})
    pruner.update(start_step=4, end_step=6, every=1, sparsity=0.75, kind="linear")
    seen = []
    steps(mlp, pruner, 8, after=lambda step: seen.append(zeros(mlp, pruner)[0]))
    assert seen[2] == 0
    assert [round(count / 1472, 3) for count in seen[5:]] == [0.75] * 3
    pruner.update(num_steps=100, end=0.5)
    assert [course.end for course in pruner._courses] == [50, 50]


def test_a_change_that_does_not_fit_changes_nothing(mlp, make):
    pruner = make(mlp, pattern="2:4")
    before = (pruner.config, pruner.num_steps, pruner.domains, pruner._courses)
    for settings, message in (
        ({"pattern": "4x1"}, "pattern: cannot be changed in a pruner; what can is begin, end"),
        ({"sparsity": 0.7}, "sparsity: must be at most 0.5, all that pattern 2:4 can remove, got 0.7"),
        ({"sparsity": 1.5}, "sparsity: Input should be less than 1, got 1.5"),
        ({"end_step": 30}, "schedule.end: must be within the stage's 20 steps, got 30"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            pruner.update(**settings)
        assert "\n" not in str(refused.value)
        assert (pruner.config, pruner.num_steps, pruner.domains, pruner._courses) == before


def test_weights_without_a_gradient_and_sparse_gradients_are_taken(mlp):
    model = nn.ModuleDict({"used": nn.Embedding(8, 4, sparse=True), "unused": nn.Linear(4, 4)})
    pruner = Sparsifier(
        model,
        {
            "sparsity": 0.5,
            "max_sparsity_per_layer": 1.0,
            "layers": {"types": ["Embedding", "Linear"]},
            "schedule": {"begin": 0, "end": 2, "every": 1},
        },
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        model["used"](torch.arange(8)).square().sum().backward()
        pruner.before_optimizer_step(step)
        optimizer.step()
        pruner.after_optimizer_step(step, 0.1)
        optimizer.zero_grad()
    assert not model["unused"].weight.any()
    assert int((model["used"].weight == 0).sum()) == 8
