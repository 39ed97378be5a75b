"""Losses against formulas in NumPy."""

import numpy as np
import pytest

from oq.numerics.values import Array

torch = pytest.importorskip("torch")

from oq.training.losses import LOSSES  # noqa: E402


def log_softmax(x: Array) -> Array:
    return np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)))


def drawn(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def test_mse_is_noise_over_signal_of_each_output() -> None:
    y, t = drawn(4, 6, seed=1), drawn(4, 6, seed=2)
    wanted = ((y - t) ** 2).sum() / (t**2).sum()
    found = LOSSES["mse"]([torch.tensor(y)] * 2, [torch.tensor(t)] * 2, None)
    assert float(found) == pytest.approx(2 * wanted)
    silent = LOSSES["mse"]([torch.zeros(2, 2)], [torch.zeros(2, 2)], None)
    assert float(silent) == 0.0


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((5, 7), 1), ((5, 7, 1, 1), 1), ((2, 3, 7), 2), ((2, 7, 3, 4), 1)],
)
def test_kl_is_over_the_classes(shape: tuple[int, ...], axis: int) -> None:
    y, t = drawn(*shape, seed=1), drawn(*shape, seed=2)
    rows = [np.moveaxis(v, axis, -1).reshape(-1, shape[axis]) for v in (y, t)]
    said, meant = map(log_softmax, rows)
    wanted = (np.exp(meant) * (meant - said)).sum(-1).mean()
    found = LOSSES["kl"]([torch.tensor(y)], [torch.tensor(t)], None)
    assert float(found) == pytest.approx(wanted)


def test_labels_add_their_cross_entropy() -> None:
    y, t, labels = drawn(5, 7, seed=1), drawn(5, 7, seed=2), np.array([0, 6, 3, 3, 1])
    said, meant = log_softmax(y), log_softmax(t)
    wanted = (np.exp(meant) * (meant - said)).sum(-1).mean() - said[np.arange(5), labels].mean()
    found = LOSSES["labels"]([torch.tensor(y)], [torch.tensor(t)], torch.tensor(labels))
    assert float(found) == pytest.approx(wanted)
    with pytest.raises(ValueError, match="without labels"):
        LOSSES["labels"]([torch.tensor(y)], [torch.tensor(t)], None)
