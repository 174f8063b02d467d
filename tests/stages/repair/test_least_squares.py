import numpy as np
import pytest
import torch

from stages.repair.least_squares import Sums

TINY = 1e-12


def draw(tokens=60, kept=5, outputs=3, mean=2.0):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(tokens, kept, generator=generator) + mean
    return inputs, torch.randn(tokens, outputs, generator=generator) + 1.0


def solve(inputs, residuals, *, ridge=TINY, has_bias=True, batches=4):
    chunks = list(zip(inputs.chunk(batches), residuals.chunk(batches), strict=True))
    sums = Sums(*chunks[0])
    for chunk in chunks:
        sums.add(*chunk)
    return sums.solve(ridge, has_bias=has_bias)


def error(inputs, residuals, change, bias):
    return float((residuals.double() - inputs.double() @ change.T - bias).square().sum())


@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_the_change_with_a_bias_is_that_of_numpys_least_squares(mean):
    inputs, residuals = draw(mean=mean)
    change, bias = solve(inputs.double(), residuals.double())
    with_ones = np.c_[inputs.double().numpy(), np.ones(len(inputs))]
    expected, *_ = np.linalg.lstsq(with_ones, residuals.double().numpy(), rcond=None)
    np.testing.assert_allclose(change.numpy(), expected[:-1].T, atol=1e-7)
    np.testing.assert_allclose(bias.numpy(), expected[-1], atol=1e-7 * (1 + mean))


def test_the_change_without_a_bias_is_that_of_numpys_least_squares():
    inputs, residuals = draw()
    change, bias = solve(inputs, residuals, has_bias=False)
    expected, *_ = np.linalg.lstsq(inputs.double().numpy(), residuals.double().numpy(), rcond=None)
    np.testing.assert_allclose(change.numpy(), expected.T, atol=1e-5)
    assert not bias.any()


def test_a_mean_far_beyond_the_spread_costs_no_accuracy_in_float32():
    inputs, residuals = draw(tokens=500, mean=1000.0)
    change, bias = solve(inputs, residuals)
    best = error(inputs, residuals, *solve(inputs.double(), residuals.double()))
    assert error(inputs, residuals, change, bias) == pytest.approx(best, rel=1e-4)


def test_batches_give_what_all_tokens_at_once_give():
    inputs, residuals = draw()
    for one, many in zip(solve(inputs, residuals, batches=1), solve(inputs, residuals, batches=7), strict=True):
        torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("tokens", [1, 3, 60])
def test_the_error_is_never_larger_than_before_and_more_ridge_changes_less(tokens, has_bias):
    inputs, residuals = draw(tokens)
    changes = []
    for ridge in (1e-6, 1e-3, 1.0, 1e3):
        change, bias = solve(inputs, residuals, ridge=ridge, has_bias=has_bias, batches=1)
        assert error(inputs, residuals, change, bias) <= float(residuals.double().square().sum()) * (1 + 1e-6)
        changes.append(float(change.norm()))
    assert changes == sorted(changes, reverse=True)
    assert changes[-1] < 0.01 * changes[0] or changes[0] < 1e-3


def test_with_nothing_kept_only_the_bias_takes_over_the_mean():
    _, residuals = draw()
    change, bias = solve(residuals[:, :0], residuals)
    assert change.shape == (3, 0)
    torch.testing.assert_close(bias, residuals.double().mean(dim=0))


def test_inputs_that_never_move_are_left_alone():
    _, residuals = draw()
    change, bias = solve(torch.full((len(residuals), 5), 3.0), residuals)
    assert not change.any()
    torch.testing.assert_close(bias, residuals.double().mean(dim=0))


def test_the_memory_does_not_grow_with_the_tokens(largest_tensor):
    sizes = []
    for batches in (2, 20):
        inputs, residuals = draw(tokens=4 * batches, kept=30)
        with largest_tensor() as seen:
            solve(inputs, residuals, batches=batches)
        sizes.append(seen.elements)
    assert sizes == [900, 900]


def test_fewer_tokens_than_columns_and_a_ridge_below_rounding_still_give_a_finite_change():
    inputs, residuals = draw(tokens=8, kept=30)
    change, bias = solve(inputs, residuals, ridge=1e-14)
    assert torch.isfinite(change).all()
    assert error(inputs, residuals, change, bias) < 1e-6 * float(residuals.double().square().sum())
