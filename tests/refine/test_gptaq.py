"""Refitted weights give for the changed input what the float ones give for the exact one."""

import numpy as np

from oq.numerics.values import Array
from oq.refine.gptaq import ENOUGH, RIDGE, enough, product, refit

RANDOM = np.random.default_rng(3)


def windows(group: int, count: int, width: int) -> Array:
    """Correlated, without means, of many sizes."""
    x = RANDOM.normal(size=(group, count, width)) @ RANDOM.normal(size=(group, width, width))
    return np.asarray(x - x.mean(axis=1, keepdims=True), np.float32)


def test_it_is_ridge_regression_of_the_loss_on_the_exact_input() -> None:
    """Against NumPy's least squares with the ridge as further rows."""
    x, rows = windows(2, 400, 6), RANDOM.normal(size=(2, 3, 6))
    z = x + 0.1 * RANDOM.normal(size=x.shape).astype(np.float32)
    z[..., 2] *= 0.9
    found = refit(rows, product(x, x), product(z, x))
    for g in range(2):
        ridge = np.sqrt(RIDGE * (x[g] ** 2).sum() / 6) * np.eye(6)
        for row, new in zip(rows[g], found[g], strict=True):
            target = np.concatenate([(x[g] - z[g]) @ row, np.zeros(6)])
            change, *_ = np.linalg.lstsq(np.concatenate([x[g], ridge]), target, rcond=None)
            np.testing.assert_allclose(new - row, change, rtol=1e-3, atol=1e-6)


def test_what_is_lost_in_a_regular_way_is_made_up_for() -> None:
    """An input that came out a tenth too small: along its largest direction the output is right."""
    x = RANDOM.normal(size=(1, 4000, 1)) @ np.ones((1, 1, 40)) + windows(1, 4000, 40) * 1e-3
    x = x - x.mean(axis=1, keepdims=True)
    rows = RANDOM.normal(size=(1, 4, 40)) + 1
    exact = x @ rows.transpose(0, 2, 1)
    before, after = (
        np.square(0.9 * x @ r.transpose(0, 2, 1) - exact).mean()
        for r in (rows, refit(rows, product(x, x), product(0.9 * x, x)))
    )
    assert after < 0.1 * before


def test_noise_that_knows_nothing_of_the_input_does_not_shrink_the_weights() -> None:
    """Least squares on the noisy input would, by half here."""
    x = windows(1, 20000, 4)
    noise = RANDOM.normal(size=x.shape) * x.std()
    rows = RANDOM.normal(size=(1, 3, 4))
    found = refit(rows, product(x, x), product((x + noise).astype(np.float32), x))
    np.testing.assert_allclose(found, rows, atol=0.02)


def test_too_few_windows_say_nothing() -> None:
    assert not enough(windows(1, ENOUGH * 8 - 1, 8)) and enough(windows(1, ENOUGH * 8, 8))


def test_an_unchanged_input_changes_nothing_and_a_dead_one_neither() -> None:
    x, rows = windows(1, 200, 5), RANDOM.normal(size=(1, 3, 5))
    np.testing.assert_array_equal(refit(rows, product(x, x), product(x, x)), rows)
    np.testing.assert_array_equal(refit(rows, product(0 * x, 0 * x), product(x, 0 * x)), rows)
