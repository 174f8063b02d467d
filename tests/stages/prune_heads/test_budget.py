import copy

import pytest
import torch

from stages.schedules import Span

STEPS = 24
SPAN = Span(4, 20)


@pytest.mark.parametrize("granularity", ["block", "head"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9])
def test_budget_follows_the_schedule_within_one_head_at_every_step_and_ends_exact(
    make_pruner, layers, run_steps, granularity, sparsity
):
    pruner = make_pruner(layers, granularity=granularity, sparsity=sparsity)
    counts = []
    run_steps(layers, pruner, STEPS, after=lambda step: counts.append(8 - int(pruner.live().sum())))
    for step, count in enumerate(counts):
        assert abs(count - 8 * sparsity * SPAN.progress(step + 1)) < 1
    assert counts[: SPAN.begin] == [0] * SPAN.begin
    assert counts[-1] == round(8 * sparsity)
    assert sum(len(kept.units) for kept in pruner.finish().values()) == 8 - round(8 * sparsity)


@pytest.mark.parametrize("settings", [{"sparsity": 0.5}, {"threshold": 0.5}])
@pytest.mark.parametrize("place", [0, 1, 12, STEPS])
def test_a_span_without_length_masks_at_once_what_the_scores_say_by_then(
    make_pruner, layers, run_steps, place, settings
):
    pruner, masked = make_pruner(layers, span=Span(place, place), regular_scale=0.0, **settings), []

    def check(step):
        masked.append(bool(pruner._dead.any()))
        highest_dead = pruner.scores.values[pruner._dead].max() if masked[-1] else -torch.inf
        assert highest_dead < pruner.scores.values[~pruner._dead].min()

    run_steps(layers, pruner, STEPS, after=check)
    before = max(1, place) - 1
    assert masked == [False] * before + [True] * (STEPS - before)
    if "sparsity" in settings:
        assert sum(len(kept.units) for kept in pruner.finish().values()) == 4


@pytest.mark.parametrize("block_size", [None, 1])
def test_equal_scores_still_hit_the_budget(make_pruner, layers, run_steps, block_size):
    pruner = make_pruner(layers, sparsity=0.5, score_learning_rate=1e-30, block_size=block_size)
    run_steps(layers, pruner, STEPS)
    assert int(pruner.live().sum()) == 4


@pytest.mark.parametrize("granularity", ["block", "head"])
def test_beside_an_exact_budget_and_no_penalty_the_rate_of_the_scores_changes_nothing(
    make_pruner, layers, run_steps, assert_same_states, granularity
):
    plans, trained = [], []
    for rate in (1e-3, 0.5):
        own = copy.deepcopy(layers)
        settings = {"granularity": granularity, "regular_scale": 0.0, "score_learning_rate": rate}
        pruner = make_pruner(own, sparsity=0.5, **settings)
        run_steps(own, pruner, STEPS)
        plans.append(pruner.finish())
        trained.append(own)
    assert plans[0] == plans[1]
    assert sum(len(kept.units) for kept in plans[0].values()) == 4
    assert_same_states(*trained)


@pytest.mark.parametrize("granularity", ["block", "head"])
def test_of_heads_that_shrink_and_grow_as_steadily_those_go_that_matter_least_to_the_loss(
    make_pruner, layers, granularity
):
    pruner = make_pruner(layers, granularity=granularity, sparsity=0.5)
    sizes = torch.tensor([1e-4, 1.0, 1e-4, 1.0]).repeat_interleave(layers.head_dim)
    for step in range(STEPS):
        for attention in layers.attention:
            for part in (attention.q, attention.k, attention.v):
                part.weight.grad = (-1) ** step * sizes[:, None] * part.weight.detach()
            attention.o.weight.grad = (-1) ** step * sizes * attention.o.weight.detach()
        pruner.before_optimizer_step(step)
        pruner.after_optimizer_step(step, 0.0)
    assert [kept.units for kept in pruner.finish().values()] == [(1, 3), (1, 3)]


def test_every_layer_keeps_its_least_number_of_heads(make_pruner, layers, run_steps):
    pruner = make_pruner(layers, sparsity=0.75, min_heads_per_layer=1)
    run_steps(layers, pruner, STEPS)
    assert [len(kept.units) for kept in pruner.finish().values()] == [1, 1]
    pruner = make_pruner(layers, regular_scale=1e4, min_heads_per_layer=3)
    run_steps(layers, pruner, STEPS)
    assert [len(kept.units) for kept in pruner.finish().values()] == [3, 3]


def test_threshold_masks_exactly_the_blocks_whose_sigmoid_is_not_above_it(make_pruner, layers, run_steps):
    pruner = make_pruner(layers, threshold=0.4, regular_scale=1.0)
    seen = set()

    def check(step):
        expected = pruner.scores.values.sigmoid() <= 0.4 * SPAN.progress(step + 1)
        masked = torch.cat([weight.dead.flatten() for weight in pruner.layout.weights])
        assert torch.equal(masked, expected)
        seen.add(int(masked.sum()))

    run_steps(layers, pruner, STEPS, after=check)
    assert len(seen) > 3
