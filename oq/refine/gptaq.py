"""Refits weights to the quantized input of their layer (GPTAQ).

Quantizing the layers upstream changes the input x of a layer to z: partly at random, as rounding
does, partly systematically, as a clipped range or a channel with too small a range does.  The
systematic part, the linear regression of ``z - x`` on x, can be compensated by the weights w of
each output channel, while means are left to the bias:

    w += w E[(x - z) x^T] inverse(E[x x^T] + ridge)

(The idea, with z in place of the last two x: Li et al. 2025, "GPTAQ", arXiv:2504.02692.  A
regression on z also shrinks weights by the random part, layer after layer, and the output with
them.)  In directions in which x hardly varies, an estimate from few samples does not generalize.
Hence the ridge of several mean variances: only the directions that carry most of the input are
corrected.
"""

import numpy as np

from oq.numerics.values import Array

RIDGE = 10.0
"""In mean variances.  Of 0.01 to 80, tried on held-out samples of two real models, 3 to 20 work for
both: less hurts on ResNet-20, more on MobileNet."""

ENOUGH = 10
"""Minimum number of windows per weight of an output channel; with fewer, weights are not
refitted."""


def enough(windows: Array) -> bool:
    """Whether there are enough ``windows`` (group, row, weight) to refit weights."""
    return bool(windows.shape[1] >= ENOUGH * windows.shape[2])


def product(first: Array, second: Array) -> Array:
    """``sum over rows of first second^T``, float64 (group, weight, weight), of two arrays of
    windows (group, row, weight)."""
    return np.asarray((first.transpose(0, 2, 1) @ second).astype(np.float64))


def refit(rows: Array, exact: Array, crossed: Array) -> Array:
    """``rows`` (group, channel, weight) for windows z in place of windows x, their means
    subtracted: ``exact`` is the :func:`product` of x with itself, ``crossed`` that of z with x."""
    ridge = RIDGE * np.einsum("gii->gi", exact).mean(axis=1) + np.finfo(np.float32).tiny
    held = exact + ridge[:, None, None] * np.eye(exact.shape[1])
    lost = rows @ (exact - crossed)
    return np.asarray(rows + np.linalg.solve(held, lost.transpose(0, 2, 1)).transpose(0, 2, 1))
