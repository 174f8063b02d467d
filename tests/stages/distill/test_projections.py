from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.surgery.groups import Producer, PruningGroup
from stages.distill import projections
from stages.distill.projections import as_it_is, attention_layers, living_heads, unwrapped, watching


def head_group(layers):
    return layers.head_groups()[0]


def test_a_head_lives_while_a_channel_of_it_lives_in_all_four_weights(layers):
    group, attention = head_group(layers), layers.attention[0]
    with torch.no_grad():
        attention.o.weight[:, 0:2] = 0  # head 0: nothing reads it
        attention.q.weight[2] = 0  # head 1: its other channel lives
        attention.v.weight[4] = 0  # head 2: its channels die of different weights
        attention.k.weight[5] = 0
    assert living_heads(layers, group).tolist() == [False, True, False, True]


def test_a_group_follows_what_the_model_has_of_it_now(layers):
    group = head_group(layers)
    layers.attention[0].o = nn.Linear(6, 8)
    assert as_it_is(layers, group).num_units == 3


def test_parts_are_read_off_one_fused_module_too():
    model = nn.Sequential(nn.Linear(4, 12), nn.Identity())
    producers = tuple(Producer("0", 2, offset=offset) for offset in (0, 4, 8))
    group = PruningGroup("encoder.0.heads", "heads", "encoder", 0, producers, "1", unit_size=2, num_units=2)
    inputs = torch.randn(2, 3, 4)
    with watching(model, group, "qv") as found:
        outputs = model(inputs)
    assert sorted(found) == ["q", "v"]
    assert torch.equal(torch.cat([found["q"], found["v"]], -1), outputs[..., [0, 1, 2, 3, 8, 9, 10, 11]])
    with watching(model, group, "k") as found:
        pass
    model(inputs)
    assert not found


def test_a_model_without_known_queries_is_refused_in_one_line(layers, small_bert, monkeypatch):
    with pytest.raises(ValueError, match=r"^relations_weight: must be 0 where no queries.*'Layers' is not supported"):
        attention_layers(layers)
    heads = head_group(layers)
    shared = replace(heads, producers=(replace(heads.producers[0], rows_per_unit=1), *heads.producers[1:]))
    for groups in ((), (replace(heads, kind="channels"),), (replace(heads, producers=heads.producers[:2]),), (shared,)):
        monkeypatch.setattr(projections, "dissect", lambda model, groups=groups: groups)
        with pytest.raises(ValueError, match="must be 0 for BertForSequenceClassification, which has no encoder"):
            attention_layers(small_bert())


def test_a_model_that_averages_over_processes_is_looked_into(layers):
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        assert unwrapped(nn.parallel.DistributedDataParallel(layers)) is layers
    finally:
        torch.distributed.destroy_process_group()
    assert unwrapped(layers) is layers
