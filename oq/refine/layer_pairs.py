"""Pairs of consecutive layers whose common channels can be rescaled.

A pair is a layer, at most one activation, pooling and reshaping that keep channels apart, and the
layer that reads them; no tensor between has another reader.  Scaling channel c by ``t[c] > 0``,

    W1[c] *= t[c],   b1[c] *= t[c],   W2[.., c] /= t[c]

does not change the function, since the activation is positively homogeneous (Relu, LeakyRelu), or
clips at bounds that the scaled channel does not reach (:class:`LayerPair`, ``bound``).  A layer
without a bias has no ``b1`` to scale.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from oq.model.operands import constant_limits, is_padded
from oq.model.ops import BOUNDED, HOMOGENEOUS, POOLING, RESHAPING
from oq.model.view import GraphView
from oq.numerics.values import Array
from oq.numerics.weights import other_axes
from oq.planning.layers import NO_BIAS, Layer, along, find_layers
from oq.planning.spec import Plan


@dataclass(frozen=True, slots=True)
class LayerPair:
    """``first`` feeds only ``second``.

    ``tensor`` has the channels after the activation.  ``bound`` is the upper bound of the
    activation (inf without one), ``floor`` whether it clips at 0.  ``padded``: zeros are added to
    the channels before ``second`` reads them.  ``path`` are all tensors between the layers: those
    that change when channels are scaled.
    """

    first: Layer
    second: Layer
    tensor: str
    bound: float
    floor: bool
    padded: bool
    path: tuple[str, ...]


def find_layer_pairs(view: GraphView, plan: Plan) -> Iterator[LayerPair]:
    """Every pair of quantized layers, in execution order."""
    layers = {layer.node: layer for layer in find_layers(view, plan)}
    for layer in layers.values():
        if (layer.bias is None and layer.why != NO_BIAS) or not _own(view, layer):
            continue  # a bias that cannot be scaled
        found = _follow(view, layer, layers)
        if found is not None and _own(view, found.second):
            yield found


def may_scale(view: GraphView, plan: Plan) -> bool:
    """Whether there is a pair."""
    return any(True for _ in find_layer_pairs(view, plan))


def scale_first(chain: LayerPair, weight: Array, by: Array) -> Array:
    """The weight of the first layer with output channel c times ``by[c]`` (channels,)."""
    scaled = weight * along(by, chain.first.weight_axis, weight.ndim)
    return np.asarray(scaled.astype(weight.dtype))


def scale_second(chain: LayerPair, weight: Array, by: Array) -> Array:
    """The weight of the second layer with input channel c times ``by[c]`` (channels,)."""
    return np.asarray((weight * _to_inputs(chain.second, weight, by)).astype(weight.dtype))


def input_sums(chain: LayerPair, weight: Array, shift: Array) -> Array:
    """What each output channel gains if ``shift[c]`` is added to every value of input channel c."""
    layer = chain.second
    product = (weight * _to_inputs(layer, weight, shift)).astype(np.float64)
    return np.asarray(product.sum(axis=other_axes(weight, layer.weight_axis)))


def input_reach(chain: LayerPair, weight: Array, channels: int) -> Array:
    """``max |w|`` over the weights that read each of ``channels`` input channels."""
    found = np.zeros(channels)
    sizes = np.abs(weight).astype(np.float64).reshape(-1)
    np.maximum.at(found, _readers(chain, weight, channels), sizes)
    return found


def input_squares(chain: LayerPair, weight: Array, channels: int) -> Array:
    """``sum w**2`` over the weights that read each of ``channels`` input channels."""
    squares = weight.astype(np.float64).reshape(-1) ** 2
    return np.bincount(_readers(chain, weight, channels), squares, minlength=channels)


def _readers(chain: LayerPair, weight: Array, channels: int) -> Array:
    """The input channel that each weight, in C order, reads."""
    numbers = _to_inputs(chain.second, weight, np.arange(channels, dtype=np.float64))
    return np.broadcast_to(numbers, weight.shape).astype(np.int64).reshape(-1)


def _to_inputs(layer: Layer, weight: Array, by: Array) -> Array:
    """``by`` (channels,) shaped to broadcast over the input channels of ``weight``."""
    if weight.ndim == 2:
        into = 1 - layer.weight_axis
        repeats = weight.shape[into] // len(by)  # Flatten keeps the positions of a channel together
        return along(np.repeat(by, repeats), into, 2)
    outs, width = weight.shape[0], weight.shape[1]
    per_output = np.repeat(by.reshape(layer.group, width), outs // layer.group, axis=0)
    return per_output.reshape(outs, width, *(1,) * (weight.ndim - 2))


def _own(view: GraphView, layer: Layer) -> bool:
    """Whether nothing else reads the layer's weight, and its layout is known."""
    return view.edges(layer.weight) == 1 and view.constants[layer.weight].dtype == np.float32


def _follow(view: GraphView, layer: Layer, layers: Mapping[str, Layer]) -> LayerPair | None:
    tensor = view.node(layer.last).outputs[0]
    acted, bound, floor, padded, flat = False, float("inf"), False, False, False
    channels = tensor
    path = [view.node(layer.node).outputs[0]]
    while view.edges(tensor) == 1 and view.consumers(tensor):
        path.append(tensor)
        node = view.consumers(tensor)[0]
        if node.name in layers:
            second = layers[node.name]
            if not _fits(view, layer, channels, second, tensor) or tensor != node.inputs[0]:
                return None
            padded = padded or is_padded(second.attributes)
            return LayerPair(
                layer, second, channels, bound, floor, padded, tuple(dict.fromkeys(path))
            )
        if not acted and node.op in HOMOGENEOUS and channels == tensor:
            acted, floor = True, HOMOGENEOUS[node.op]
            channels = node.outputs[0]
        elif not acted and node.op in BOUNDED and channels == tensor:
            bounds = constant_limits(view, node)
            if bounds is None or bounds[0] != 0:
                return None
            acted, floor, bound = True, True, bounds[1]
            channels = node.outputs[0]
        elif node.op in POOLING:
            padded = padded or is_padded(node.attributes)
            flat = flat or POOLING[node.op]
        elif not (node.op in RESHAPING and (flat or RESHAPING[node.op])):
            return None
        tensor = node.outputs[0]
    return None


def _fits(view: GraphView, first: Layer, made: str, second: Layer, read: str) -> bool:
    """Whether the channels that ``first`` has ``made`` are the input channels of ``second`` in the
    tensor that it has ``read``, alone or in rows."""
    channels = view.constants[first.weight].shape[first.weight_axis]
    shape = view.constants[second.weight].shape
    matrix = view.rank(made) == view.rank(read) == 2
    if len(shape) == 2 and first.axis == -1 and not matrix:  # rows of channels: nothing between
        return made == read and shape[1 - second.weight_axis] == channels
    if len(shape) == 2:
        return view.rank(read) == 2 and shape[1 - second.weight_axis] % channels == 0
    group = int(str(second.attributes.get("group", 1)))
    return first.axis == 1 and second.weight_axis == 0 and shape[1] * group == channels
