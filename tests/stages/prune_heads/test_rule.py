import itertools

import pytest
import torch

from stages.prune_heads.rule import death_ranks, live_heads


@pytest.mark.parametrize("dead", list(itertools.product([False, True], repeat=4)))
def test_a_head_lives_exactly_when_none_of_its_four_bands_is_dead(dead):
    bands = [torch.ones(3, 1, 4, dtype=torch.bool) for _ in range(4)]
    for band, is_dead in zip(bands, dead, strict=True):
        band[1] = not is_dead
    assert live_heads(bands).tolist() == [True, not any(dead), True]


@pytest.mark.parametrize("dead", list(itertools.product([False, True], repeat=4)))
def test_bands_that_keep_one_block_keep_the_head(dead):
    bands = [torch.ones(1, 1, 4, dtype=torch.bool) for _ in range(4)]
    for band, is_dead in zip(bands, dead, strict=True):
        band[0, 0, 1:] = not is_dead
    assert live_heads(bands).tolist() == [True]


def test_one_slice_of_channels_alive_in_all_four_bands_keeps_the_head():
    bands = [torch.zeros(1, 2, 3, dtype=torch.bool) for _ in range(4)]
    for index, band in enumerate(bands):
        band[0, 1, index % 3] = True
    assert live_heads(bands).tolist() == [True]


def test_slices_alive_in_different_bands_do_not_add_up_to_a_live_head():
    bands = [torch.zeros(1, 2, 3, dtype=torch.bool) for _ in range(4)]
    for index, band in enumerate(bands):
        band[0, index % 2] = True
    assert live_heads(bands).tolist() == [False]


@pytest.mark.parametrize("slices", [1, 2])
def test_death_ranks_say_after_how_many_blocks_each_head_is_gone(slices):
    ranks = torch.randperm(4 * 3 * slices * 2, generator=torch.Generator().manual_seed(4))
    bands = [band.view(3, slices, 2) for band in ranks.chunk(4)]
    deaths = death_ranks(bands)
    assert len(set(deaths.tolist())) == 3
    for num_gone in range(len(ranks) + 1):
        live = live_heads([band >= num_gone for band in bands])
        assert live.tolist() == (deaths >= num_gone).tolist()
