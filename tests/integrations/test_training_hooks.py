import pytest
import torch

from pipeline import TrainingHooks, condense


def five_hooks(hooks, optimizer, batches, accumulated=1):
    """Return a training function with the five hooks as they stand in Intel's documentation."""

    def train(model):
        for epoch in range(2):
            hooks.on_epoch_begin(epoch)
            half = len(batches) // 2
            for step, batch in enumerate(batches[epoch * half : (epoch + 1) * half]):
                hooks.on_step_begin(step)
                torch.manual_seed(epoch * half + step)
                (model(**batch).loss / accumulated).backward()
                if (step + 1) % accumulated == 0:
                    hooks.on_before_optimizer_step()
                    optimizer.step()
                    optimizer.zero_grad()
                hooks.on_step_end()
            hooks.on_epoch_end()

    return train


def hooked(model, pruner):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    return TrainingHooks(pruner, model, optimizer), optimizer


def test_the_five_hooks_prune_as_the_two_calls_do(model, build, batches, train, assert_same):
    by_hand, own = model(), model()
    pruners = build(by_hand), build(own)
    train(by_hand, pruners[0])
    plan = pruners[0].finish()
    hooks, optimizer = hooked(own, pruners[1])
    returned = hooks.fit(five_hooks(hooks, optimizer, batches), lambda trained: ("scored", trained is own))
    assert_same([(by_hand, own), pruners])
    assert returned is own
    assert (hooks.score, hooks.keep_plan, hooks.num_steps) == (("scored", True), plan, 8)


def test_each_fit_ends_with_a_decision(model, build, batches):
    own = model()
    hooks, optimizer = hooked(own, build(own))
    decided = []
    finish = hooks.pruner.finish
    hooks.pruner.finish = lambda: decided.append(hooks.num_steps) or finish()
    for part in (batches[:4], batches[4:]):
        hooks.fit(five_hooks(hooks, optimizer, part))
    assert decided == [4, 8]


def test_what_is_scored_is_the_pruned_model_which_computes_what_the_cut_one_does(model, build, batches):
    own = model(dropout=0.0)
    hooks, optimizer = hooked(own, build(own))
    hooks.fit(five_hooks(hooks, optimizer, batches), lambda trained: trained.eval()(**batches[0]).logits.detach())
    plan = hooks.keep_plan
    assert plan is None or any(len(kept.units) < kept.of for kept in plan.values())
    cut = own if plan is None else condense(own, plan)
    torch.testing.assert_close(cut(**batches[0]).logits, hooks.score)


def test_the_hook_after_the_optimizer_is_heeded_where_there_is_one(model, sparsifier, batches, train, assert_same):
    by_hand, own = model(), model()
    pruners = sparsifier(by_hand), sparsifier(own)
    train(by_hand, pruners[0])
    hooks, optimizer = hooked(own, pruners[1])
    hooks.on_train_begin()
    for step, batch in enumerate(batches):
        hooks.on_step_begin(step)
        torch.manual_seed(step)
        own(**batch).loss.backward()
        hooks.on_before_optimizer_step()
        optimizer.step()
        hooks.on_after_optimizer_step()
        optimizer.zero_grad()
    assert_same([(by_hand, own), pruners])
    hooks.on_train_end()


def test_with_accumulated_gradients_steps_of_the_optimizer_are_counted(model, sparsifier, batches):
    own = model()
    hooks, optimizer = hooked(own, sparsifier(own))
    hooks.fit(five_hooks(hooks, optimizer, batches, accumulated=2))
    assert hooks.num_steps == 4


def test_a_training_function_without_hooks_is_told_that_nothing_was_pruned(model, sparsifier):
    own = model()
    hooks, _ = hooked(own, sparsifier(own))
    with pytest.raises(ValueError, match="train_function: must call on_before_optimizer_step before each step"):
        hooks.fit(lambda trained: None)


def test_gradients_are_read_once_for_each_step(model, sparsifier, batches):
    own = model()
    hooks, _ = hooked(own, sparsifier(own))
    with pytest.raises(ValueError, match="must be read before the optimizer steps, got none read"):
        hooks.on_after_optimizer_step()
    own(**batches[0]).loss.backward()
    hooks.on_before_optimizer_step()
    with pytest.raises(ValueError, match="must be read once for each optimizer step, got twice"):
        hooks.on_before_optimizer_step()


def test_the_state_goes_into_new_hooks(model, sparsifier, batches, assert_same):
    whole, half, rest = model(), model(), model()
    pruners = sparsifier(whole), sparsifier(half), sparsifier(rest)
    stopped = {}, {}
    for own, pruner, first, last in ((whole, pruners[0], 0, 8), (half, pruners[1], 0, 5), (rest, pruners[2], 5, 8)):
        hooks, optimizer = hooked(own, pruner)
        if first:
            own.load_state_dict(half.state_dict())
            optimizer.load_state_dict(stopped[0])
            hooks.load_state_dict(stopped[1])
        for step in range(first, last):
            torch.manual_seed(step)
            own(**batches[step]).loss.backward()
            hooks.on_before_optimizer_step()
            optimizer.step()
            hooks.on_step_end()
            optimizer.zero_grad()
        stopped = optimizer.state_dict(), hooks.state_dict()
    assert_same([(whole, rest), (pruners[0], pruners[2])])
