import importlib

import pytest
import torch
from torch import nn


@pytest.fixture
def step_clock(_on_path):
    return importlib.import_module("step_clock")


def test_the_clock_notes_training_passes_only_and_leaves_no_hook(step_clock):
    model = nn.Linear(2, 1)
    clock = step_clock.StepClock(model)
    for is_training in (True, False, True, True, False):
        model.train(is_training)(torch.zeros(1, 2))
    assert len(clock.starts) == 3
    clock.close()
    model.train()(torch.zeros(1, 2))
    assert len(clock.starts) == 3


def test_steps_are_timed_from_one_pass_to_the_next_after_the_warmup(step_clock):
    clock = step_clock.StepClock(nn.Linear(1, 1))
    clock.starts = [0.0, 1.0, 3.0, 6.0]
    assert clock.step_seconds() == [1.0, 2.0, 3.0]
    assert clock.step_seconds(warmup=1) == [2.0, 3.0]


def test_ratios_compare_totals_and_typical_steps(step_clock):
    assert step_clock.ratio_of_totals([1.0, 1.0, 10.0], [1.0, 1.0, 1.0]) == 4.0
    assert step_clock.median_ratio([1.0, 1.0, 10.0], [1.0, 1.0, 1.0]) == 1.0
    with pytest.raises(ValueError, match="zip"):
        step_clock.median_ratio([1.0], [1.0, 2.0])
