import pytest
import torch
from torch import nn

from stages.sparsify import Sparsifier

STEPS = 20


def test_each_group_is_a_domain_of_its_own_and_the_first_that_picks_a_layer_has_it(mlp, steps, make):
    groups = [
        {"include": ["^0$"], "pattern": "2:4", "sparsity": 0.5},
        {"include": ["^[02]$"], "pattern": "4x1", "sparsity": 0.25, "schedule": {"kind": "one_shot", "begin": 2}},
    ]
    pruner, seen = make(mlp, sparsity=0.9, groups=groups), []
    steps(mlp, pruner, after=lambda step: seen.append(float((mlp[2].weight == 0).float().mean())))
    assert (mlp[0].weight.view(-1, 4) == 0).sum(1).eq(2).all()
    assert seen == [0.0] + [0.25] * 19
    assert (mlp[2].weight.view(6, 4, 32) == 0).sum(1).unique().tolist() == [0, 4]
    assert int((mlp[4].weight == 0).sum()) == round(0.9 * 192)


def test_frozen_weights_are_not_touched(mlp, make):
    mlp[0].requires_grad_(False)
    assert list(make(mlp).masks()) == ["2.weight", "4.weight"]
    assert list(make(mlp, freeze=["2"]).masks()) == ["4.weight"]


def test_caps_and_floors_hold_and_the_domain_is_exact_all_the_same(mlp, steps, make, zeros):
    with torch.no_grad():
        mlp[0].weight *= 1e-3
        mlp[4].weight *= 1e3
    pruner = make(mlp, criterion="magnitude", sparsity=0.6, max_sparsity_per_layer=0.75, min_sparsity_per_layer=0.25)
    steps(mlp, pruner, lr=1e-6)
    shares = [float((mlp[index].weight == 0).float().mean()) for index in (0, 2, 4)]
    assert shares[0] == 0.75
    assert shares[2] == 0.25
    assert zeros(mlp, pruner)[0] == round(0.6 * 1472)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": {"include": ["nowhere"]}}, r"layers: must pick at least one layer of the model, got types"),
        ({"groups": [{"include": ["nowhere"]}]}, r"groups\[0\].include: must pick a layer that no group before picks"),
        ({"groups": [{"include": ["0"]}, {"include": ["0"]}]}, r"groups\[1\].include: must pick a layer"),
        ({"pattern": "5x1"}, r"pattern: must divide at least one layer, but 5x1 divides none; 0 \(32 × 16\)"),
        ({"sparsity": 0.99, "max_sparsity_per_layer": 0.5}, "sparsity: must be at most max_sparsity_per_layer"),
        ({"schedule": {"begin": 30, "end": 40}}, "schedule.end: must be within the stage's 20 steps, got 40"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused_in_one_line(mlp, settings, message):
    with pytest.raises(ValueError, match=message) as refused:
        Sparsifier(mlp, settings, num_steps=STEPS)
    assert "\n" not in str(refused.value)


def test_a_target_above_what_the_layers_let_go_is_refused_with_that_number():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 4))
    with pytest.raises(ValueError, match=r"sparsity: must be at most 0\.7083, which is what pattern 1xchannel and"):
        Sparsifier(model, {"pattern": "1xchannel", "sparsity": 0.9, "max_sparsity_per_layer": 0.9}, num_steps=9)
