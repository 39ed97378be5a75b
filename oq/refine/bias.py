"""Bias correction: the mean error of every layer's output is taken back in its bias.

Rounding the weights of a layer, and the errors that reach it from the layers before it, shift the
mean of its output; over many layers such shifts add up where random errors average out.  Layer
after layer, in the order they run,

    bias[c] += E[float output[c]] - E[quantized output[c]]

with means over samples and positions, each layer fed with what the corrected layers before it
give.  (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", arXiv:1906.04721, section 4.2, the empirical form of appendix D.)
"""

from collections.abc import Iterator

import numpy as np

from oq.grid import fake_quantize
from oq.refine.layers import Layer, along, find_layers, per_channel
from oq.refine.step import Change
from oq.refine.subject import Subject
from oq.refine.walk import Values, Walk
from oq.spec import Array


def correct_bias(subject: Subject) -> Change:
    """New biases for every layer that has one."""
    exact = Walk(subject.model, subject.samples)
    rounded = Walk(subject.simulated(), subject.samples)
    for tensor, values in subject.constants.items():
        rounded.set_constant(tensor, values)
    biases: dict[str, Array] = {}
    without: list[str] = []
    for layer in find_layers(subject.view, subject.plan):
        grid = subject.solution.grids[layer.site]
        rounded.set_constant(layer.weight, fake_quantize(subject.constant(layer.weight), grid))
        if layer.bias is None:
            without.append(f"{layer.node!r}: {layer.why}")
            continue
        error = output_error(layer, exact, rounded)
        biases[layer.bias] = shifted(subject.constant(layer.bias), error)
    note = f"{len(biases)} layers corrected"
    if without:
        note += f", {len(without)} not ({without[0]})"
    return Change(biases, note)


def output_error(layer: Layer, exact: Walk, rounded: Walk) -> Array:
    """``E[float] - E[quantized]`` per output channel of ``layer``, float64.

    Leaves ``rounded`` with that mean put right, so that later layers see the corrected output.
    """
    wanted = exact.at(exact.output(layer.last))
    tensor = rounded.output(layer.last)
    found = rounded.at(tensor)
    error = mean(wanted, layer.axis) - mean(found, layer.axis)
    error = np.where(np.isfinite(error), error, 0.0)  # infinite values say nothing of the mean
    rounded.put(tensor, tuple(_add(found, error, layer.axis)))
    return error


def mean(values: Values, axis: int) -> Array:
    """The mean per channel of ``axis`` over all batches, each value counting once."""
    sizes = [v.size for v in values]
    with np.errstate(invalid="ignore"):
        means = [per_channel(v, axis) for v in values]
        return np.asarray(np.average(means, axis=0, weights=sizes))


def shifted(bias: Array, by: Array) -> Array:
    """``bias`` (float32, channels in C order) plus ``by`` (channels,)."""
    return (bias.astype(np.float64) + by.reshape(bias.shape)).astype(bias.dtype)


def _add(values: Values, by: Array, axis: int) -> Iterator[Array]:
    for v in values:
        yield v + along(by, axis, v.ndim).astype(v.dtype)
