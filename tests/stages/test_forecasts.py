from types import SimpleNamespace

import pytest
import torch

from pipeline.forecast.units import Units
from stages import STAGES
from stages.forecasts import FORECASTS, channels_left, heads_left
from stages.prune_ffn.config import PruneFfnConfig
from stages.prune_ffn.targets import GlobalTarget, LocalTarget, match_heads
from stages.prune_heads.config import PruneHeadsConfig

HEADS = Units.of_layers((4, 4))
CHANNELS = Units.of_layers((24, 24))
WHOLE = {"heads": HEADS, "channels": CHANNELS}


def channels(before=WHOLE, **settings):
    return channels_left(PruneFfnConfig(**settings), before, 4)["channels"]


def test_every_stage_that_comes_with_the_package_has_a_forecast():
    assert FORECASTS.keys() == STAGES.keys()


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9])
def test_a_budget_of_heads_is_exact_in_all_layers_together(sparsity):
    left = heads_left(PruneHeadsConfig(sparsity=sparsity), WHOLE, 4)
    assert left == {"heads": Units(8 - round(8 * sparsity)), "channels": CHANNELS}


def test_what_the_threshold_leaves_is_set_by_training_and_what_depends_on_it_too():
    left = heads_left(PruneHeadsConfig(), WHOLE, 4)
    assert left == {"heads": None, "channels": CHANNELS}
    assert channels_left(PruneFfnConfig(sparsity="match_heads"), left, 4)["channels"] is None
    assert channels_left(PruneFfnConfig(sparsity=0.5), left, 4) == {"heads": None, "channels": Units(24)}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.93])
def test_one_share_of_all_layers_leaves_what_the_target_leaves(share):
    importances = {"a": torch.rand(24), "b": torch.rand(24)}
    removed = GlobalTarget(share, 0.95)(importances, 1.0)
    assert channels(sparsity=share) == Units(48 - sum(removed.values()))
    assert channels(sparsity=share, multiple_of=8) is None


@pytest.mark.parametrize(
    ("settings", "shares"),
    [
        ({"sparsity": 0.4, "scope": "local"}, (0.4, 0.4)),
        ({"sparsity": 0.4, "scope": "local", "multiple_of": 8}, (0.4, 0.4)),
        ({"sparsity": (0.25, 1.0)}, (0.25, 1.0)),
    ],
)
def test_a_share_per_layer_leaves_in_each_what_the_target_leaves(settings, shares):
    names = ("a", "b")
    target = LocalTarget(dict(zip(names, shares, strict=True)), settings.get("multiple_of", 1))
    removed = target({name: torch.rand(24) for name in names}, 1.0)
    assert channels(**settings) == Units.of_layers(tuple(24 - removed[name] for name in names))


def test_matching_heads_is_exact_in_all_layers_where_each_head_stands_for_as_many_channels():
    before = {"heads": Units(5), "channels": CHANNELS}
    assert channels(before, sparsity="match_heads") == Units(15)
    for first in range(1, 5):
        known = {"heads": Units.of_layers((first, 5 - first)), "channels": CHANNELS}
        assert channels(known, sparsity="match_heads").total == 15
    assert channels(before, sparsity="match_heads", match_heads_ratio=0.3) is None


def test_matching_heads_whose_layers_are_known_is_exact_in_each():
    before = {"heads": Units.of_layers((4, 1)), "channels": CHANNELS}
    assert channels(before, sparsity="match_heads") == Units.of_layers((12, 3))


def test_shares_for_layers_of_unknown_widths_tell_nothing():
    before = {"heads": HEADS, "channels": Units(20)}
    assert channels(before, sparsity=(0.5, 0.5)) is None
    assert channels(before, sparsity=0.5) == Units(10)


def test_matching_heads_rounds_a_half_as_the_stage_does():
    before, config = {"heads": Units.of_layers((9,)), "channels": Units.of_layers((200,))}, {"match_heads_ratio": 0.45}
    shares = match_heads([SimpleNamespace(name="a", layer=0)], {0: 9 / 12}, 0.45)
    removed = LocalTarget(shares)({"a": torch.rand(200)}, 1.0)["a"]
    left = channels_left(PruneFfnConfig(sparsity="match_heads", **config), before, 12)["channels"]
    assert left == Units.of_layers((200 - removed,))
