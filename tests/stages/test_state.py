"""Every tensor that a pruner saves is needed: a resume without any one of them ends in something else."""

import copy

import pytest
import torch

from stages.prune_ffn.targets import GlobalTarget
from stages.prune_heads.movement import MovementPruner, MovementSettings
from stages.schedules import Rounds, Span
from stages.taylor import Taylor
from stages.unit_pruner import UnitPruner

STEPS, MIDDLE = 24, 10
"""The middle lies inside a round's interval, with steps observed before it and two to come."""
MOVEMENT = {
    *("scores", "first_moment", "second_moment", "num_updates", "masked", "history", "history.steps"),
    *(f"raw.attention.{layer}.{part}" for layer in range(2) for part in "qkvo"),
}
TAYLOR = {
    *("rounds", "observed", "history", "history.rounds"),
    *(f"{kind}.encoder.{layer}.channels" for kind in ("alive", "sum") for layer in range(2)),
}


def movement(layers):
    settings = MovementSettings(sparsity=0.5, score_learning_rate=0.2)
    return MovementPruner(layers, layers.head_groups(), settings, span=Span(4, 20), num_steps=STEPS)


def taylor(layers):
    groups = layers.channel_groups()
    rounds = Rounds(Span(2, 18), 5)
    return UnitPruner(layers, groups, scorer=Taylor(layers, groups), counts=GlobalTarget(0.5), rounds=rounds)


def left_out(state, part, fresh):
    """Return ``state`` in which ``part`` is as it is before the first step.

    The raw values under a mask are laid out by it, and go with it; they alone left out, there are zeros under it.
    """
    if part.startswith("raw."):
        return {**state, part: torch.zeros_like(state[part])}
    gone = {part} | {name for name in state if part == "masked" and name.startswith("raw.")}
    return {name: fresh[name] if name in gone else value for name, value in state.items()}


@pytest.mark.parametrize(("build", "parts"), [(movement, MOVEMENT), (taylor, TAYLOR)])
def test_a_resume_without_any_one_tensor_of_the_state_ends_in_something_else(layers, run_steps, build, parts):
    fresh = build(copy.deepcopy(layers)).state_dict()
    pruner = build(layers)
    optimizer = run_steps(layers, pruner, MIDDLE)
    half_done, state, moments = copy.deepcopy(layers), pruner.state_dict(), copy.deepcopy(optimizer.state_dict())
    assert state.keys() == parts

    def end(model, pruner, optimizer):
        run_steps(model, pruner, STEPS - MIDDLE, first=MIDDLE, optimizer=optimizer)
        return pruner.finish(), {**model.state_dict(), **pruner.tensors()}

    def resumed(restored):
        model = copy.deepcopy(half_done)
        again, optimizer = build(model), torch.optim.AdamW(model.parameters())
        again.load_state_dict(restored)
        optimizer.load_state_dict(copy.deepcopy(moments))
        return end(model, again, optimizer)

    plan, tensors = end(layers, pruner, optimizer)

    def is_same(result):
        return result[0] == plan and all(torch.equal(value, result[1][name]) for name, value in tensors.items())

    assert is_same(resumed(state))
    assert [part for part in sorted(parts) if is_same(resumed(left_out(state, part, fresh)))] == []
