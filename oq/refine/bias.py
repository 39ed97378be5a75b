"""Bias correction: the mean error of every layer's output is subtracted from its bias.

Rounding the weights of a layer, and the errors from the layers upstream, shift the mean of its
output.  Random errors average out over many layers, but such shifts add up.  Layer by layer, in
execution order,

    bias[c] += E[float output[c]] - E[quantized output[c]]

with means over samples and positions, each layer reading the output of the corrected layers
upstream. (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", arXiv:1906.04721, section 4.2, the empirical form of appendix D.)
"""

from dataclasses import dataclass

import numpy as np

from oq.engines.engine import Walk
from oq.numerics.grid import Grid, fake_quantize, fit
from oq.numerics.values import Array
from oq.numerics.weights import channel_range
from oq.parallel import parallel_map
from oq.planning.layers import Layer, along, find_layers
from oq.planning.spec import SiteKey
from oq.refine.channel_statistics import channel_sums, float_means
from oq.refine.joined import find_ends
from oq.refine.layerwise import Values
from oq.refine.subject import Change, Subject
from oq.wording import counted


def correct_bias(subject: Subject) -> Change:
    """New biases for every layer that has one."""
    wanted, ends = float_means(subject), find_ends(subject)
    rounded = subject.walk(subject.constants)
    biases: dict[str, Array] = {}
    grids: dict[SiteKey, Grid] = {}
    without: list[str] = []
    for layer in subject.each([*find_layers(subject.view, subject.plan)]):
        grid = subject.solution.grids[layer.site]
        weight = fake_quantize(subject.constant(layer.weight), grid)
        rounded.set_constant(layer.weight, weight, grid)
        if layer.bias is None:
            without.append(f"{layer.node!r}: {layer.why}")
            continue
        bias, coarse = subject.constant(layer.bias), coarse_grid(subject, layer)
        if coarse is None:
            biases[layer.bias] = shifted(bias, output_error(layer, wanted[layer.node], rounded))
        else:
            end = ends.get(layer.node, layer.last)
            found = round_bias(layer, wanted[layer.node], rounded, bias, coarse, end)
            biases[layer.bias], grids[found.site] = found.values, found.grid
    note = f"{counted(len(biases), 'layer')} corrected"
    if without:
        note += f", {len(without)} not ({without[0]})"
    return Change(biases, note, grids)


def output_error(layer: Layer, wanted: Array, rounded: Walk) -> Array:
    """``wanted - E[quantized]`` per output channel of ``layer``, float64.

    Adds this error to the outputs in ``rounded``, so that later layers read the corrected output.
    """
    tensor = rounded.output(layer.last)
    found = rounded.at(tensor)
    with np.errstate(invalid="ignore"):
        error = wanted - mean(found, layer.axis)
    error = np.where(np.isfinite(error), error, 0.0)  # infinite values say nothing of the mean
    rounded.shift(tensor, along(error, layer.axis, found[0].ndim))
    return error


def coarse_grid(subject: Subject, layer: Layer) -> Grid | None:
    """The grid of the bias if its scale is no smaller than that of a weight: int8 on the DPU."""
    grid = None if layer.bias_site is None else subject.solution.grids[layer.bias_site]
    if grid is None or grid.qtype.dtype == "int32" or not grid.qtype.symmetric:
        return None
    return grid


@dataclass(frozen=True, slots=True)
class Rounded:
    """A bias quantized with the ``grid`` of its ``site``: its ``values``, and the remaining mean
    error (channels,), ``left``."""

    site: SiteKey
    grid: Grid
    values: Array
    left: Array


def round_bias(
    layer: Layer, wanted: Array, rounded: Walk, bias: Array, grid: Grid, end: str
) -> Rounded:
    """``bias`` corrected as above, by the mean that is ``wanted`` of the output of the node
    ``end``, and quantized.

    Downstream layers read outputs with the remaining error of the quantized bias, so that they can
    compensate it.
    """
    if layer.bias is None:
        raise ValueError(f"{layer.node} has no bias")
    rounded.set_constant(layer.bias, np.zeros_like(bias), grid)
    tensor = rounded.output(layer.last)
    rank = rounded.at(tensor)[0].ndim

    def by(values: Array) -> Array:
        return along(values.astype(np.float64).reshape(-1), layer.axis, rank)

    found = rounded.peek(rounded.output(end), tensor, by(bias))
    settled = fit_bias(layer, bias, wanted - mean(found, layer.axis), grid)
    rounded.shift(tensor, by(settled.values))
    return settled


def fit_bias(layer: Layer, bias: Array, error: Array, grid: Grid) -> Rounded:
    """``bias`` plus ``error`` (channels,), quantized with ``grid``, or with a larger one if it does
    not fit."""
    if layer.bias_site is None:
        raise ValueError(f"{layer.node} has no bias with a grid")
    best = shifted(bias, np.where(np.isfinite(error), error, 0.0))
    reach, least, most = channel_range(best, grid.axis), grid.qtype.qmin, grid.qtype.qmax
    if (reach.hi > grid.scale * most).any() or (reach.lo < grid.scale * least).any():
        grid = fit(reach, grid.qtype, grid.axis)
    found = fake_quantize(best, grid)
    left = (best.astype(np.float64) - found).reshape(-1)
    return Rounded(layer.bias_site, grid, found, left)


def mean(values: Values, axis: int) -> Array:
    """The mean per channel of ``axis`` over all batches, each value with equal weight."""
    with np.errstate(invalid="ignore"):
        total = np.sum(parallel_map(lambda v: channel_sums(v, axis), values), axis=0)
        return np.asarray(total * total.size / sum(v.size for v in values))


def shifted(bias: Array, by: Array) -> Array:
    """``bias`` (float32, channels in C order) plus ``by`` (channels,)."""
    return (bias.astype(np.float64) + by.reshape(bias.shape)).astype(bias.dtype)
