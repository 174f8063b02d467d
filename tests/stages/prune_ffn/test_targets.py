from dataclasses import replace

import pytest
import torch

from stages.prune_ffn.config import PruneFfnConfig
from stages.prune_ffn.targets import GlobalTarget, LocalTarget, build_target, heads_kept


def test_match_heads_follows_the_heads_of_the_architecture(layers):
    some, none = (replace(group, num_units=left) for group, left in zip(layers.head_groups(), (3, 0), strict=True))
    heads = heads_kept((some, none, *layers.channel_groups()), num_heads=12)
    assert heads == {0: 0.25, 1: 0.0}
    target = build_target(PruneFfnConfig(), layers.channel_groups(), heads)
    assert target == LocalTarget({"encoder.0.channels": 0.875, "encoder.1.channels": 1.0})


def test_layers_with_all_their_heads_keep_match_heads_ratio_of_their_channels(layers):
    heads = heads_kept(layers.head_groups(), num_heads=4)
    target = build_target(PruneFfnConfig(match_heads_ratio=0.8), layers.channel_groups(), heads)
    assert list(target.shares.values()) == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({"sparsity": 0.5}, GlobalTarget(0.5, 0.95)),
        ({"sparsity": 0.5, "max_sparsity_per_layer": 0.6}, GlobalTarget(0.5, 0.6)),
        ({"sparsity": 0.5, "scope": "local"}, LocalTarget({"encoder.0.channels": 0.5, "encoder.1.channels": 0.5})),
        ({"sparsity": [0.1, 1]}, LocalTarget({"encoder.0.channels": 0.1, "encoder.1.channels": 1.0})),
        ({"sparsity": 0.5, "multiple_of": 4}, GlobalTarget(0.5, 0.95, 4)),
    ],
)
def test_each_form_of_sparsity_makes_its_target(layers, settings, target):
    assert build_target(PruneFfnConfig(**settings), layers.channel_groups(), {}) == target


def test_a_list_of_another_length_is_refused(layers):
    with pytest.raises(ValueError, match="sparsity: must hold one share for each of 2 layers, got 3"):
        build_target(PruneFfnConfig(sparsity=[0.1, 0.2, 0.3]), layers.channel_groups(), {})


def test_targets_never_give_back_what_is_gone():
    torch.manual_seed(0)
    importances = {"a": torch.rand(20), "b": torch.rand(12)}
    for target in (GlobalTarget(0.7, 0.8, 4), LocalTarget({"a": 0.7, "b": 0.9}, 4)):
        gone = {"a": 0, "b": 0}
        for done in range(11):
            current = {name: values.clone() for name, values in importances.items()}
            for name, number in gone.items():
                current[name][values_lowest(importances[name], number)] = -torch.inf
            counts = target(current, done / 10)
            assert all(counts[name] >= gone[name] for name in gone)
            gone = counts


def values_lowest(values, number):
    return values.argsort()[:number]
