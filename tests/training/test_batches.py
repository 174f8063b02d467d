import itertools
import random

import numpy as np
import pytest
import torch

from pipeline.training.batches import Batches, by_length, padding_share

LENGTHS = np.random.default_rng(0).geometric(1 / 9, 20_000).clip(3, 60)
"""Like those of SST-2: many short phrases and a long tail."""


def whole_epoch(batches, epoch=0):
    return [batches.rows(epoch, index) for index in range(len(batches))]


@pytest.mark.parametrize("num_rows", [1, 7, 8, 9, 33, 100])
@pytest.mark.parametrize("pool", [1, 2, 50])
def test_every_row_is_seen_once_an_epoch(num_rows, pool):
    batches = Batches(num_rows, batch_size=8, seed=1, lengths=LENGTHS[:num_rows], pool=pool)
    found = whole_epoch(batches)
    assert sorted(row for rows in found for row in rows) == list(range(num_rows))
    sizes = sorted(len(rows) for rows in found)
    assert sizes[1:] == [8] * (len(batches) - 1)
    assert sizes[0] == (num_rows % 8 or 8)


def test_any_batch_can_be_asked_for_in_any_order():
    def fresh():
        return Batches(500, batch_size=8, seed=1, lengths=LENGTHS[:500])

    in_order = [whole_epoch(fresh(), epoch) for epoch in range(3)]
    other = fresh()
    for epoch, index in [(2, 5), (0, 62), (1, 0), (2, 4), (0, 0)]:
        assert other.rows(epoch, index) == in_order[epoch][index]
        assert fresh().rows(epoch, index) == in_order[epoch][index]


def test_order_changes_with_the_epoch_and_the_seed_and_with_nothing_else():
    found = {
        (seed, epoch): whole_epoch(Batches(100, batch_size=8, seed=seed), epoch)
        for seed in (0, 1, 2**40)
        for epoch in (0, 1)
    }
    assert len({str(order) for order in found.values()}) == 6
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    assert whole_epoch(Batches(100, batch_size=8, seed=1), 1) == found[1, 1]


def test_no_global_generator_is_drawn_from():
    states = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()
    whole_epoch(Batches(100, batch_size=8, seed=1, lengths=LENGTHS[:100]))
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tobytes() == states[1]
    assert torch.get_rng_state().equal(states[2])


def test_batches_are_of_like_length_within_a_pool_and_their_order_is_shuffled():
    batches = Batches(1024, batch_size=8, seed=1, lengths=LENGTHS[:1024], pool=128)
    found = whole_epoch(batches)
    spans = sorted((int(LENGTHS[rows].min()), int(LENGTHS[rows].max())) for rows in found)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    longest = [int(LENGTHS[rows].max()) for rows in found]
    assert longest != sorted(longest)


def test_a_pool_of_fifty_batches_pads_less_than_a_tenth_where_random_batches_pad_most():
    pooled = Batches(len(LENGTHS), batch_size=32, seed=1, lengths=LENGTHS, pool=50)
    plain = Batches(len(LENGTHS), batch_size=32, seed=1, lengths=LENGTHS, pool=1)
    assert padding_share(pooled.epoch(0), LENGTHS) < 0.1
    assert padding_share(plain.epoch(0), LENGTHS) > 0.5


def test_padding_share_counts_the_tokens_that_are_not_real():
    assert padding_share([[0, 1], [2]], np.array([1, 3, 4])) == pytest.approx(0.2)


@pytest.mark.parametrize(("num_rows", "processes"), [(64, 2), (33, 2), (100, 3), (8, 4)])
def test_processes_share_an_epoch_and_make_the_same_number_of_steps(num_rows, processes):
    shards = [
        Batches(num_rows, batch_size=8, seed=1, process_index=index, num_processes=processes)
        for index in range(processes)
    ]
    assert len({len(shard) for shard in shards}) == 1
    found = [rows for shard in shards for rows in whole_epoch(shard)]
    alone = whole_epoch(Batches(num_rows, batch_size=8, seed=1))
    assert {tuple(rows) for rows in found} == {tuple(rows) for rows in alone}
    assert len(found) == -(-len(alone) // processes) * processes


@pytest.mark.parametrize("arguments", [{"num_rows": 0}, {"batch_size": 0}, {"pool": 0}, {"lengths": LENGTHS[:3]}])
def test_impossible_batches_are_refused(arguments):
    with pytest.raises(ValueError, match="must"):
        Batches(**{"num_rows": 10, "batch_size": 2, "seed": 0, **arguments})


def test_an_index_past_the_epoch_is_refused():
    with pytest.raises(IndexError, match="5 batches, got index 5"):
        Batches(10, batch_size=2, seed=0).rows(0, 5)


def test_the_batch_to_time_a_step_on_is_of_middling_length():
    lengths = np.arange(1, 91)
    rows = Batches(90, batch_size=10, seed=0, lengths=lengths, pool=9).middling()
    assert sorted(lengths[rows]) == list(range(41, 51))
    assert len(Batches(90, batch_size=10, seed=0).middling()) == 10


def test_rows_by_length_come_longest_first_and_without_lengths_in_order():
    assert by_length(3, np.array([2, 9, 5]), 2) == [[1, 2], [0]]
    assert by_length(3, None, 2) == [[0, 1], [2]]
