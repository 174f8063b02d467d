import re
from types import SimpleNamespace

import pytest
import torch

from pipeline.allowance import Allowance, report_tokens
from pipeline.errors import RecipeError
from pipeline.recipe.budget import BudgetSource
from pipeline.reporting.profile import macs
from pipeline.surgery.architectures import encoder_parameters
from pipeline.surgery.condense import condense
from pipeline.surgery.groups import dissect
from pipeline.surgery.keep_plan import KeepPlan, Kept
from stages.prune_ffn.config import PruneFfnConfig
from stages.prune_heads.config import PruneHeadsConfig

TARGETS = [{"macs": 0.3}, {"encoder_sparsity": 0.6}, {"macs": 0.0125}]


class Split:
    """The rows of one batch."""

    def __init__(self, batch):
        self.rows = batch

    def __len__(self):
        return len(next(iter(self.rows.values())))

    def batch(self, rows):
        return {name: value[list(rows)] for name, value in self.rows.items()}


@pytest.fixture
def task(tiny_batch):
    return SimpleNamespace(validation={"validation": Split(tiny_batch("bert"))})


def cut(model, heads, channels):
    """Return the model with so many units of each kind, those of the first layers, and the plan it was cut by."""
    left, plan = {"heads": heads, "channels": channels}, {}
    for group in dissect(model):
        count = min(left[group.kind], group.num_units)
        left[group.kind] -= count
        plan[group.name] = Kept(group.num_units, tuple(range(count)))
    return condense(model, KeepPlan(plan)), KeepPlan(plan)


def share_used(model, dense, target, batch):
    """Return what of the layers' costs stays, measured as the report does, as a share of the dense model's."""
    if target.encoder_sparsity is not None:
        return encoder_parameters(model) / encoder_parameters(dense)
    beside = macs(cut(dense, 0, 0)[0], batch)
    return (macs(model, batch) - beside) / (macs(dense, batch) - beside)


@pytest.mark.parametrize("target", TARGETS[:2], ids=str)
def test_as_many_channels_fit_as_the_budget_takes_and_not_one_more(tiny_model, tiny_batch, task, target):
    model, target, batch = tiny_model("bert"), BudgetSource(**target), tiny_batch("bert")
    allowed = target.macs or 1 - target.encoder_sparsity
    for heads in (0, 2):
        channels = Allowance.of(model, None, target, task).fitting("channels", {"heads": heads})
        assert 0 < channels < 48
        fitting, over = (share_used(cut(model, heads, n)[0], model, target, batch) for n in (channels, channels + 1))
        assert fitting <= allowed < over


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_budget_means_the_first_model_however_much_of_it_is_gone(tiny_model, task, target):
    model = tiny_model("bert")
    smaller, plan = cut(model, 3, 30)
    again, second = cut(smaller, 0, 20)
    whole = Allowance.of(model, None, BudgetSource(**target), task)
    assert Allowance.of(smaller, plan, BudgetSource(**target), task) == whole
    assert Allowance.of(again, plan.then(second), BudgetSource(**target), task) == whole
    only_heads = KeepPlan({name: kept for name, kept in plan.items() if "heads" in name})
    assert Allowance.of(condense(model, only_heads), only_heads, BudgetSource(**target), task) == whole


def test_a_share_counts_as_it_is_written():
    from pipeline.allowance import _exact

    assert _exact(0.15) * 20 == 3
    assert 0.29 * 100 < 29
    assert _exact(0.29) * 100 == 29


def test_the_tokens_are_those_of_the_longest_row_that_the_report_counts(tiny_model, task):
    model = tiny_model("bert").train()
    state = torch.random.get_rng_state()
    assert report_tokens(model, task) == 7
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("target", "configs", "message"),
    [
        (
            {"macs": 0.1},
            [PruneHeadsConfig()],
            r"budget\.macs: must be at least 0\.\d+, for stages that prune heads with min_heads_per_layer 0 can do no "
            r"more, got 0\.1",
        ),
        (
            {"encoder_sparsity": 0.95},
            [PruneHeadsConfig(min_heads_per_layer=1), PruneFfnConfig()],
            r"budget\.encoder_sparsity: must be at most 0\.\d+, for stages that prune heads and channels with "
            r"min_heads_per_layer 1, max_sparsity_per_layer 0\.95 can do no more, got 0\.95",
        ),
    ],
)
def test_more_than_the_stages_can_remove_is_refused_with_the_most_they_can(tiny_model, task, target, configs, message):
    model, by_kind = tiny_model("bert"), {config.prunes: config for config in configs}
    with pytest.raises(RecipeError, match=message) as refused:
        Allowance.of(model, None, BudgetSource(**target), task).check(model, by_kind)
    (name,) = target
    bound = float(re.findall(r"at (?:least|most) (0\.\d+)", str(refused.value))[0])
    for share, is_refused in ((bound, False), (bound + (-1e-3 if name == "macs" else 1e-3), True)):
        allowance = Allowance.of(model, None, BudgetSource(**{name: share}), task)
        if is_refused:
            with pytest.raises(RecipeError):
                allowance.check(model, by_kind)
        else:
            allowance.check(model, by_kind)
