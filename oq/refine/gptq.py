"""GPTQ: the rounding error of each weight is compensated by the weights not yet rounded.

Rounding to nearest minimizes the error of the weights, not that of the layer's output.  With ``H =
E[(x - E x)(x - E x)^T]`` over the windows x that the layer reads, the error of an output channel is
``d^T H d`` for the error d of its weights.  Weights are rounded one after the other, those of the
largest inputs first, each with what the errors of those before ask of it:

    rounded(w[j] + sum of U[k, j] / U[j, j] * d[k] over k < j),   H + damping = U U^T, U upper
    d[k] = w[k] - rounded(...)

since ``d^T H d = |U^T d|^2``.  This is GPTQ (Frantar et al. 2022, arXiv:2210.17323), which changes
the weights behind j by the rows of a factor of the inverse of H instead (Hassibi & Stork 1993,
"Optimal Brain Surgeon"); the codes are the same, without an inverse (Chen et al. 2025, "The
Geometry of LLM Quantization: GPTQ as Babai's Nearest Plane Algorithm", arXiv:2507.18553).  No
torch, no labels; a weight may be rounded further than to its two neighbours.

Before that, weights are refitted to the quantized input (:mod:`oq.refine.gptaq`).  Means are left
to the bias, which is corrected layer by layer in the same pass (:mod:`oq.refine.bias`).
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oq.engines.engine import Walk as Rounding
from oq.numerics.grid import Grid, fake_quantize, spread
from oq.numerics.values import Array
from oq.parallel import parallel_map, step_ahead
from oq.planning.layers import Layer, find_layers
from oq.planning.spec import SiteKey
from oq.refine.bias import coarse_grid, fit_bias, mean, output_error, round_bias, shifted
from oq.refine.channel_statistics import float_means
from oq.refine.gptaq import enough, product, refit
from oq.refine.joined import find_ends
from oq.refine.layer_inputs import (
    WIDEST,
    WIDEST_IN_BLOCKS,
    center,
    draw_windows,
    finite,
    is_finite,
    rows_of,
    weight_of,
    why_not,
)
from oq.refine.layerwise import Walk
from oq.refine.subject import Change, Subject

DAMPING = 0.01
"""Fraction of the mean second moment that is added to the diagonal, so that H is invertible."""

BLOCK = 32
"""Weights between two products that take in all errors so far (GPTQ, section 3.3)."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The grid of every weight: ``scale`` and ``zero`` (the code of 0) with axes that broadcast to
    (group, channel, weight), codes ``lowest..highest``."""

    scale: Array
    zero: Array
    lowest: int
    highest: int


Method = Callable[[Array, Array, Steps], Array]
"""(rows, moments, steps) -> rounded rows, as :func:`feedback`."""


def round_with_feedback(subject: Subject) -> Change:
    """New weights, rounded, and the corrected biases."""
    return round_layers(subject, feedback)


def round_layers(subject: Subject, method: Method) -> Change:
    """Layer by layer: refit the weights, round them by ``method``, then correct the mean error in
    the bias.

    Starts from the float weights and biases, regardless of earlier steps.
    """
    means, rounded, ends = float_means(subject), subject.walk(), find_ends(subject)
    layers = [*find_layers(subject.view, subject.plan)]
    changed = subject.changes()
    grids: dict[SiteKey, Grid] = {}
    nearest: list[str] = []
    floats = _read_ahead(subject, layers, ends)
    for layer in subject.each(layers):
        grid = subject.solution.grids[layer.site]
        weight = changed.get(layer.weight, subject.view.constants[layer.weight])
        bias = None if layer.bias is None else subject.view.constants[layer.bias]
        coarse, wanted = coarse_grid(subject, layer), means[layer.node]
        reason = _why_nearest(layer, weight, grid)
        if reason is not None and layer.weight not in changed:
            nearest.append(f"{layer.node!r}: {reason}")
            weight = fake_quantize(weight, grid)
        elif layer.weight not in changed:
            seen = _look(layer, weight, next(floats), rounded, ends.get(layer.node))
            missing = None
            if bias is not None and coarse is not None:
                settled = fit_bias(layer, bias, seen.error, coarse)
                bias, missing, coarse = settled.values, settled.left, settled.grid
            weight = _round_layer(layer, weight, grid, seen, method, missing)
            changed[layer.weight] = weight
        rounded.set_constant(layer.weight, weight, grid)
        if layer.bias is None or bias is None:
            continue
        if coarse is None:
            changed[layer.bias] = shifted(bias, output_error(layer, wanted, rounded))
        else:
            end = ends.get(layer.node, layer.last)
            settled = round_bias(layer, wanted, rounded, bias, coarse, end)
            changed[layer.bias], grids[settled.site] = settled.values, settled.grid
    floats.close()
    note = f"{len(changed)} weights and biases re-rounded"
    if nearest:
        note += f"; {len(nearest)} layers rounded to nearest ({nearest[0]})"
    return Change(changed, note, grids)


def _why_nearest(layer: Layer, weight: Array, grid: Grid) -> str | None:
    """None, or why the weights of ``layer`` are rounded to nearest."""
    if not grid.qtype.uniform:
        return "its weight is float8"
    return why_not(layer, weight, WIDEST if grid.block is None else WIDEST_IN_BLOCKS)


@dataclass(frozen=True, slots=True)
class _Exact:
    """Of the float model: the ``windows`` that a layer reads (group, row, weight), less their
    ``means`` (group, weight), if these are finite, and then their ``square``, the
    :func:`~oq.refine.gptaq.product` with themselves.  Of the ``other`` operand of the Add behind
    which its mean is set right, if there is one, the input that it is, and its mean (channels,)."""

    windows: Array
    means: Array
    square: Array | None
    other: tuple[int, Array] | None


def _read_ahead(
    subject: Subject, layers: Sequence[Layer], ends: Mapping[str, str]
) -> Generator[_Exact, None, None]:
    """What each of ``layers`` that is refitted reads in the float model, one layer ahead: that does
    not depend on how the layers before are rounded."""
    exact, constants = Walk(subject.exact(), subject.samples), subject.view.constants
    refitted: dict[str, Layer] = {}  # by weight: what layers share is refitted to the first of them
    for layer in layers:
        if _why_nearest(layer, constants[layer.weight], subject.solution.grids[layer.site]) is None:
            refitted.setdefault(layer.weight, layer)

    def read(layer: Layer) -> _Exact:
        values = exact.at(exact.input(layer.node))
        windows = draw_windows(layer, values, constants[layer.weight])
        means = center(windows)
        square = product(windows, windows) if is_finite(means) and enough(windows) else None
        return _Exact(windows, means, square, _read_other(layer, ends.get(layer.node), exact))

    return step_ahead(read, refitted.values())


def _read_other(layer: Layer, end: str | None, exact: Walk) -> tuple[int, Array] | None:
    if end is None:
        return None
    out = exact.output(layer.last)
    (slot,) = (s for s in (0, 1) if exact.input(end, s) != out)
    return slot, mean(exact.at(exact.input(end, slot)), layer.axis)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a layer with the weights ``rows`` (group, channel, weight) reads: windows (group, row,
    weight) of the float model and of the ``rounded`` one, less their ``means`` (group, weight);
    ``square`` is the product of the first with themselves, if it is known already, and
    ``error`` (channels,) is the mean that its output lacks for it."""

    rows: Array
    exact: Array
    square: Array | None
    rounded: Array
    means: Array
    error: Array


def _look(layer: Layer, weight: Array, exact: _Exact, rounded: Rounding, end: str | None) -> _Seen:
    rows = rows_of(layer, weight).astype(np.float64)
    wanted, means, square = exact.windows, exact.means, exact.square
    given = draw_windows(layer, rounded.at(rounded.input(layer.node)), weight)
    found = center(given)
    if not is_finite(means) or not is_finite(found):
        wanted, given = finite(wanted, given)
        means, found, square = _centered(wanted, means), _centered(given, found), None
    error = np.einsum("gof,gf->go", rows, means - found).reshape(-1)
    if end is not None and exact.other is not None:
        slot, exactly = exact.other
        error += exactly - mean(rounded.at(rounded.input(end, slot)), layer.axis)
    return _Seen(rows, wanted, square, given, found, error)


def _centered(some: Array, means: Array) -> Array:
    """The means of ``some`` of the windows, which are subtracted from them; ``means`` of all have
    been, if they are finite."""
    return center(some) + (means if is_finite(means) else 0.0)


def _round_layer(
    layer: Layer, weight: Array, grid: Grid, seen: _Seen, method: Method, missing: Array | None
) -> Array:
    """``weight`` on its grid; ``missing`` (channels,) is what its bias leaves for it to make up."""
    others = [seen.exact] if enough(seen.exact) else []
    moments, *crossed = parallel_map(lambda w: product(seen.rounded, w), [seen.rounded, *others])
    rows = seen.rows
    if crossed:
        square = product(seen.exact, seen.exact) if seen.square is None else seen.square
        rows = refit(rows, square, *crossed)
    moments /= max(seen.rounded.shape[1], 1)
    if missing is not None:
        moments += seen.means[:, :, None] * seen.means[:, None, :]
        rows = rows + compensate(moments, seen.means, missing, rows.shape[:2])
    return weight_of(layer, method(rows, moments, steps_of(layer, weight, grid)), weight)


def steps_of(layer: Layer, weight: Array, grid: Grid) -> Steps:
    """``grid`` of ``weight`` in the layout of its rows."""
    scale, zero = (
        rows_of(layer, np.broadcast_to(part, weight.shape)) for part in spread(grid, weight.shape)
    )
    return Steps(scale.astype(np.float64), zero, grid.qtype.qmin, grid.qtype.qmax)


def compensate(moments: Array, means: Array, missing: Array, channels: tuple[int, int]) -> Array:
    """The change of the weights that adds ``missing`` to the mean of each output at the least
    error.

    A bias is the weight of an input that is always 1; rounded first, its error e changes the others
    by ``-e H^-1 E[x]``, the minimum of ``d^T H d + 2 e d^T E[x]``.
    """
    direction = np.linalg.solve(_damped(moments), means[:, :, None])[:, None, :, 0]
    return np.asarray(missing.reshape(channels)[:, :, None] * direction)


def _damped(moments: Array) -> Array:
    """``moments`` (group, weight, weight) with an inverse."""
    size = np.einsum("gii->gi", moments)
    damping = DAMPING * size.mean(axis=1) + np.finfo(np.float32).tiny
    return np.asarray(moments + damping[:, None, None] * np.eye(moments.shape[1]))


def feedback(rows: Array, moments: Array, steps: Steps) -> Array:
    """``rows`` (group, channel, weight), each rounded to the grid in ``steps``.

    ``moments`` (group, weight, weight): H of each group, positive semidefinite.
    """
    order = np.argsort(-np.einsum("gii->gi", moments), axis=1, kind="stable")
    behind = order[:, ::-1]
    h = np.take_along_axis(moments, behind[:, :, None], 1)
    h = np.take_along_axis(h, behind[:, None, :], 2)
    upper = np.linalg.cholesky(_damped(h))[:, ::-1, ::-1]
    passed = upper / np.einsum("gii->gi", upper)[:, None, :]
    passed = np.ascontiguousarray(passed.transpose(0, 2, 1))  # axes (group, to, from)

    def by_size(values: Array) -> Array:  # axes (group, weight, channel)
        found = np.take_along_axis(np.broadcast_to(values, rows.shape), order[:, None, :], 2)
        return np.ascontiguousarray(found.transpose(0, 2, 1))

    exact, scale, zero = map(by_size, (rows, steps.scale, steps.zero))
    lowest, highest = steps.lowest - zero, steps.highest - zero
    rounded, errors = np.empty_like(exact), np.empty_like(exact)
    for start in range(0, exact.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        wanted = exact[:, block] + passed[:, block, :start] @ errors[:, :start]
        for j in range(start, start + wanted.shape[1]):
            since = (passed[:, j, None, start:j] @ errors[:, start:j])[:, 0]
            code = np.rint((wanted[:, j - start] + since) / scale[:, j])
            code = np.minimum(np.maximum(code, lowest[:, j]), highest[:, j])
            rounded[:, j] = code * scale[:, j]
            errors[:, j] = exact[:, j] - rounded[:, j]
    found = np.empty(rows.shape)
    np.put_along_axis(
        found, np.broadcast_to(order[:, None, :], rows.shape), rounded.transpose(0, 2, 1), 2
    )
    return found
