import copy
import io

import pytest
import torch
from transformers.optimization import Adafactor

from pipeline import PrunedOptimizer, Sparsifier


def wrapped(model, pruner, **options):
    return PrunedOptimizer(torch.optim.AdamW(model.parameters(), lr=1e-2), pruner, **options)


def run(model, optimizer, batches, first=0, schedule=None):
    for step in range(first, len(batches)):
        torch.manual_seed(step)
        model(**batches[step]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if schedule is not None:
            schedule.step()


def test_a_loop_that_knows_nothing_of_pruning_prunes_as_one_that_does(model, build, batches, train, assert_same):
    by_hand, wrapping = model(), model()
    pruners = build(by_hand), build(wrapping)
    train(by_hand, pruners[0], max_norm=0.1)
    optimizer = wrapped(wrapping, pruners[1], max_grad_norm=0.1)
    run(wrapping, optimizer, batches)
    assert_same([(by_hand, wrapping), pruners])
    assert (optimizer.num_steps, optimizer.finish()) == (8, pruners[0].finish())


def test_a_state_that_is_saved_and_loaded_goes_on_to_the_same_bits(model, build, batches, assert_same):
    whole, first, second = model(), model(), model()
    pruners = build(whole), build(first), build(second)
    run(whole, wrapped(whole, pruners[0]), batches)
    stopped = wrapped(first, pruners[1])
    run(first, stopped, batches[:5])
    saved = io.BytesIO()
    torch.save({"model": first.state_dict(), "optimizer": stopped.state_dict()}, saved)
    saved.seek(0)
    state = torch.load(saved)
    second.load_state_dict(state["model"])
    resumed = wrapped(second, pruners[2])
    resumed.load_state_dict(state["optimizer"])
    run(second, resumed, batches, first=5)
    assert_same([(whole, second), (pruners[0], pruners[2])])


def test_a_state_without_a_pruner_is_refused(model, sparsifier):
    own = model()
    optimizer = wrapped(own, sparsifier(own))
    with pytest.raises(ValueError, match=r"missing \['pruner', 'num_steps'\]; was it saved without a pruner"):
        optimizer.load_state_dict(torch.optim.AdamW(own.parameters()).state_dict())


def test_learning_rate_schedules_move_the_inner_optimizer(model, sparsifier, batches):
    own = model()
    optimizer = wrapped(own, sparsifier(own))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, total_iters=4)
    run(own, optimizer, batches[:4], schedule=schedule)
    assert optimizer.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    assert optimizer.defaults["lr"] == 1e-2


def test_a_closure_is_called_once_for_each_step(model, sparsifier, batches, assert_same):
    plain, closed = model(), model()
    optimizers = wrapped(plain, sparsifier(plain)), wrapped(closed, sparsifier(closed))
    run(plain, optimizers[0], batches)
    for step, batch in enumerate(batches):

        def closure(step=step, batch=batch):
            torch.manual_seed(step)
            optimizers[1].zero_grad()
            loss = closed(**batch).loss
            loss.backward()
            return loss

        assert optimizers[1].step(closure).requires_grad
    optimizers[1].zero_grad()
    assert_same([(plain, closed)])


def test_an_optimizer_that_computes_its_own_gradients_is_refused(model, sparsifier):
    own = model()
    with pytest.raises(ValueError, match="must take one gradient for each step, got LBFGS"):
        PrunedOptimizer(torch.optim.LBFGS(own.parameters()), sparsifier(own))


def test_a_step_that_a_scaler_skips_is_none(model, sparsifier, batches):
    own = model()
    optimizer = wrapped(own, sparsifier(own))
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for factor in (1.0, float("inf"), 1.0):
        scaler.scale(own(**batches[0]).loss * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert optimizer.num_steps == 2
    assert all(bool(torch.isfinite(tensor).all()) for tensor in own.state_dict().values())


def test_a_copy_goes_on_as_the_first_would(model, sparsifier, batches):
    own = model()
    optimizer = wrapped(own, sparsifier(own))
    run(own, optimizer, batches[:3])
    other, again = copy.deepcopy((own, optimizer))
    assert again.num_steps == 3
    for each, stepped in ((own, optimizer), (other, again)):
        torch.manual_seed(1)
        run(each, stepped, batches[3:])
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), other.parameters(), strict=True))


def test_an_optimizer_that_finds_its_own_learning_rate_is_taken_unless_group_lasso_needs_one(model, batches):
    own = model()
    optimizer = PrunedOptimizer(Adafactor(own.parameters()), Sparsifier(own, {"sparsity": 0.5}, num_steps=8))
    run(own, optimizer, batches)
    assert optimizer.num_steps == 8
    lasso = Sparsifier(model(), {"sparsity": 0.5, "group_lasso": 0.1}, num_steps=8)
    with pytest.raises(ValueError, match="optimizer: must say its learning rate for group_lasso, got None"):
        PrunedOptimizer(Adafactor(own.parameters()), lasso).step()


def test_accelerate_can_prepare_it(model, sparsifier, batches, assert_same):
    from accelerate import Accelerator

    plain, prepared = model(), model()
    pruners = sparsifier(plain), sparsifier(prepared)
    run(plain, wrapped(plain, pruners[0]), batches)
    optimizer = Accelerator(cpu=True).prepare(wrapped(prepared, pruners[1]))
    run(prepared, optimizer, batches)
    assert_same([(plain, prepared), pruners])
