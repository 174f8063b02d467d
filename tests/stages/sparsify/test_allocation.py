import itertools

import pytest
import torch

from stages.sparsify.allocation import Room, even_counts, ranked_counts, rooms
from stages.sparsify.ranking import Ranking, float_order


def ranking(layer):
    order = float_order(torch.tensor(layer, dtype=torch.float32))
    return Ranking(len(order), order.device, lambda begin, end: order[begin:end])


def rankings(*layers):
    return [ranking(layer) for layer in layers]


def random_layers(seed, widths):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(width, generator=generator).mul(8).round().div(8).tolist() for width in widths]


def best_by_trying(layers, limits, target):
    """Return the least sum of removed scores over all counts that the limits allow."""
    sums = [[0.0, *itertools.accumulate(sorted(layer))] for layer in layers]
    options = itertools.product(*(range(room.least, room.most + 1) for room in limits))
    return min(sum(s[c] for s, c in zip(sums, counts, strict=True)) for counts in options if sum(counts) == target)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("target", [0, 5, 9, 14, 17])
def test_what_a_capped_layer_cannot_take_falls_on_the_next_lowest_of_the_others(seed, target):
    layers = random_layers(seed, (6, 7, 8))
    limits = [Room(6, 1, 1, 4), Room(7, 1, 0, 7), Room(8, 1, 2, 6)]
    counts = ranked_counts(rankings(*layers), limits, target)
    assert sum(counts) == max(target, 3)
    assert all(room.least <= count <= room.most for room, count in zip(limits, counts, strict=True))
    removed = sum(sum(sorted(layer)[:count]) for layer, count in zip(layers, counts, strict=True))
    assert removed == pytest.approx(best_by_trying(layers, limits, max(target, 3)))


def test_equal_scores_go_layer_by_layer_and_do_not_overshoot():
    layers = rankings([0.5] * 4, [0.5] * 4, [0.1, 0.5, 0.5, 0.9])
    limits = [Room(4, 1, 0, 3), Room(4, 1, 0, 4), Room(4, 1, 0, 4)]
    assert ranked_counts(layers, limits, 6) == [3, 2, 1]
    assert ranked_counts(layers, limits, 11) == [3, 4, 4]


def test_blocks_of_different_sizes_come_to_the_target_to_one_block():
    layers = random_layers(3, (40, 30, 20))
    limits = [Room(40, 3, 0, 40), Room(30, 5, 0, 30), Room(20, 8, 0, 20)]
    for target in range(0, 431, 17):
        counts = ranked_counts(rankings(*layers), limits, target)
        assert abs(sum(room.loss * count for room, count in zip(limits, counts, strict=True)) - target) <= 4


@pytest.mark.parametrize("target", [0, 1, 10, 49, 50, 83, 90])
def test_local_counts_are_the_same_share_of_every_layer_to_one_block_and_exact_in_sum(target):
    limits = [Room(count, 1, 0, count) for count in (7, 13, 30, 40)]
    counts = even_counts(limits, target)
    assert sum(counts) == target
    assert all(abs(count - target / 90 * room.count) < 1 for room, count in zip(limits, counts, strict=True))


def test_local_counts_spread_what_limits_hold_back_evenly():
    limits = [Room(10, 1, 0, 2), Room(20, 1, 15, 20), Room(30, 1, 0, 30), Room(30, 1, 0, 30)]
    assert even_counts(limits, 37) == [2, 15, 10, 10]
    assert even_counts(limits, 82) == [2, 20, 30, 30]


def test_limits_are_kept_to_the_letter_where_that_leaves_room():
    layers = [(10, 1, 10), (25, 1, 25)]
    assert rooms(layers, target=20, min_share=0.25, max_share=0.95) == [Room(10, 1, 3, 9), Room(25, 1, 7, 23)]
    # 9 + 23 is less than 0.95 of 35, and 3 + 7 more than 0.25 of it; yet no layer is left with nothing.
    assert [r.most for r in rooms(layers, target=33, min_share=0.0, max_share=0.95)] == [9, 24]
    assert [r.least for r in rooms(layers, target=9, min_share=0.25, max_share=0.95)] == [2, 6]


def test_limits_of_groups_count_the_weights_that_go():
    (room,) = rooms([(8, 2, 32)], target=16, min_share=0.125, max_share=0.45)
    assert room == Room(8, 2, 2, 8)
    (room,) = rooms([(8, 2, 32)], target=14, min_share=0.125, max_share=0.45)
    assert room == Room(8, 2, 2, 7)
