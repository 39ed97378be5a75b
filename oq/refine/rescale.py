"""Per-channel scaling between a convolution and the depthwise 1x1 convolution inserted after it.

On hardware with per-tensor scales, ``Conv -> depthwise 1x1 Conv`` provides scales per channel
(:mod:`oq.prepare.insert_rescale`): for any s[c],

    w1[c] = w[c] / s[c],   z = w1 * x,   y = s z + b

is the same function.  Rounding the weights and z causes in channel c of y the error power

    s[c]**2 * (step(w1)**2 * E|x - E x|**2 + step(z)**2) / 12

apart from its mean, which the bias corrects; both steps follow from the largest channel, so a small
s[c] helps channel c at the cost of all others.  With W the range of w1 and T that of z, each
channel gets s = 2**-k with the largest k that stays within both,

    k[c] = floor(min(log2(W / max|w[c]|), log2(T / need[c])))

and the ratio T / W is searched for the least error in the output of the next layer: each channel is
weighted by the squares of the weights that read it, or, if that layer is depthwise or unknown, by
the inverse of its variance.  z needs to cover only the range that a following Clip lets through, so
its range is given, not calibrated.

If the scale of z is larger than that of y, ``s z`` is a multiple of y's scale and is not rounded a
second time.  If it is smaller, s is the odd multiple of 1/64 closest to 2**-k; otherwise exact half
steps, which the DPU always rounds up, would be frequent.  For the same reason b is a multiple of
y's scale.  (Measured on MobileNet: 10.4 dB in the simulated device; 4.6 dB with plain powers of two
and a finer b.)

The bias is split as well, ``b = s b1 + b2``: b1 of the first convolution shifts z halfway towards
the middle of the Clip's range, so that z needs a smaller range, in steps of its coarse scale; b2
corrects for those, and its own rounding error is corrected in b1.  (Halfway, since a larger b1 has
coarser steps: held-out samples of MobileNet, 14.4 dB with b1 = 0, 15.7 dB, 14.5 dB all the way.)

If the next layer is depthwise and the only reader, channels are first scaled up to the range of the
Clip, and its weights down, as in :mod:`oq.refine.equalize`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from oq.model.operands import constant_limits
from oq.model.ops import BOUNDED
from oq.model.view import GraphView
from oq.numerics.grid import Grid, fake_quantize, fit
from oq.numerics.values import Array, QType, Range
from oq.numerics.weights import channel_range, channel_reach, other_axes
from oq.parallel import parallel_map
from oq.planning.layers import Layer, along, find_layers
from oq.planning.spec import key
from oq.prepare.insert_rescale import ODD
from oq.refine.channel_statistics import channel_sums
from oq.refine.layer_pairs import LayerPair, find_layer_pairs, input_squares, scale_second
from oq.refine.layerwise import Values, Walk
from oq.refine.subject import Change, Subject

MOST = len(ODD) - 1
"""Maximum k, and maximum upscaling of a channel in octaves."""

DEAD = 1e-6
"""Channels whose weights or outputs stay below this may have any scale."""

INWARD = 0.5
"""How far the bias of the first convolution shifts z's middle towards that of the Clip's range."""

RATIOS = np.arange(-16.0, 16.0, 0.5)
"""Candidates for log2(T / W)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """``first`` feeds only ``second``, which scales its channels one by one.

    ``between`` is the tensor z; ``lo`` and ``hi`` are the bounds of a following Clip; ``chain``
    leads to the layer that is the only reader of y.
    """

    first: Layer
    second: Layer
    between: str
    lo: float
    hi: float
    chain: LayerPair | None

    @property
    def grows(self) -> LayerPair | None:
        """The layer pair, if the next layer can compensate any scaling of y."""
        fits = self.chain is not None and np.isfinite(self.chain.bound)
        return self.chain if fits and self.chain and _is_depthwise(self.chain.second) else None


@dataclass(frozen=True, slots=True)
class Function:
    """The function of a pair, ``y = clip(w * x + b)``: w as the weight of ``first``, b
    (channels,)"""

    weight: Array
    bias: Array

    def grown(self, by: Array) -> "Function":
        """With every channel scaled ``by`` (channels,)."""
        return Function(self.weight * along(by, 0, self.weight.ndim), self.bias * by)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Per channel (channels,): largest weight, required range of z, E|x - E x|**2 over the windows
    that the weights read, variance of the clipped output, and the weight of its error."""

    weight: Array
    need: Array
    window: Array
    variance: Array
    counts: Array

    @property
    def live(self) -> Array:
        """The channels that are not constant."""
        return (self.weight > DEAD) & (self.variance > DEAD**2) & (self.need > DEAD)


def rescale(subject: Subject) -> Change:
    """New weights, scales and biases of every pair, and the range between its convolutions."""
    pairs = tuple(find_pairs(subject))
    if not pairs:
        return Change({}, "no per-tensor layer is followed by a depthwise 1x1 convolution")
    grids = {s.tensor: subject.solution.grids[key(s)] for s in subject.plan.sites}
    walk = Walk(subject.model, subject.samples)
    now: dict[str, Array] = {}
    ranges: dict[str, Range] = {}
    grown: dict[str, Array] = {}
    sized: set[str] = set()
    moved: set[str] = set()
    for pair in pairs:
        windows = _windows(subject, pair.first, walk.at(walk.input(pair.first.node)))
        windows = windows * grown.get(pair.first.node, np.ones(1)) ** 2
        does, products = _does(subject, pair, now, walk.at(pair.between))
        reach, highest, variance = _seen(pair, does, products)
        up = _room(pair, does, highest)
        if pair.grows is not None:
            behind = pair.grows.second
            now[behind.weight] = scale_second(
                pair.grows, subject.constant(behind.weight, now), 1 / up
            )
            grown[behind.node] = up
        does = does.grown(up)
        outer = _outer(pair, does.bias, np.minimum(highest * up, pair.hi))
        matters = np.maximum(np.abs(pair.lo - outer), np.abs(pair.hi - outer))
        need = np.minimum(reach * up + np.abs(does.bias - outer), matters)
        variance = variance * up**2
        counts = _counts(subject, pair, variance)
        sizes = Sizes(channel_reach(does.weight, 0), need, windows, variance, counts)
        between = grids[pair.between].qtype
        k, span = choose(sizes, grids[pair.first.weight].qtype, between)
        step = _step_behind(subject.view, pair, grids)
        by = 1 / _scale(k, span / between.qmax, step)
        types = tuple(grids[str(x.bias)].qtype for x in (pair.first, pair.second))
        now |= _divided(pair, does, by, outer, types, step)
        ranges[pair.between] = Range(np.asarray(-span), np.asarray(span))
        sized.update({pair.between} if pair.chain is None else {pair.between, pair.chain.tensor})
        moved.update((pair.between,) if pair.grows is None else (pair.between, *pair.grows.path))
    note = f"{len(pairs)} layers"
    return Change(now, note, ranges=ranges, sized=frozenset(sized), moved=frozenset(moved))


def find_pairs(subject: Subject) -> Iterator[Pair]:
    """Every pair with per-tensor weights, in execution order."""
    view = subject.view
    layers = {layer.node: layer for layer in find_layers(view, subject.plan)}
    chains = {c.first.node: c for c in find_layer_pairs(view, subject.plan)}
    for first in layers.values():
        between = view.node(first.node).outputs[0]
        readers = view.consumers(between)
        if len(readers) != 1 or view.edges(between) != 1 or not _is_convolution(view, first):
            continue
        second = layers.get(readers[0].name)
        if second is None or not _is_scaling(view.constants[second.weight], second):
            continue
        if first.bias is None or second.bias is None or second.bias_site is None:
            continue
        if subject.solution.grids[first.site].axis is not None:
            continue
        behind = view.consumers(view.node(second.node).outputs[0])
        bounds = constant_limits(view, behind[0]) if behind and behind[0].op in BOUNDED else None
        lo, hi = bounds or (-np.inf, np.inf)
        yield Pair(first, second, between, lo, hi, chains.get(second.node))


def choose(sizes: Sizes, weights: QType, values: QType) -> tuple[Array, float]:
    """(k, shape (channels,); the range of z) with the least error."""
    live = sizes.live
    best = np.zeros(len(live), np.int64), float(sizes.need.max(initial=DEAD))
    least = np.inf
    if not live.any():
        return best
    small = np.log2(np.maximum(sizes.weight, DEAD * sizes.weight.max()))
    need = np.where(live, np.log2(np.maximum(sizes.need, DEAD)), -np.inf)
    for k in _candidates(small, need, live):
        by = np.exp2(k)
        coarse = _step((sizes.weight * by).max(axis=1), weights)
        step = _step((sizes.need * by)[:, live].max(axis=1), values)
        error = (coarse**2 * sizes.window + step**2) / (12 * by**2)
        costs = (np.minimum(error, sizes.variance) * sizes.counts)[:, live].sum(axis=1)
        i = int(np.argmin(costs))
        if costs[i] < least:
            best = k[i].astype(np.int64), float(step[i, 0]) * values.qmax
            least = float(costs[i])
    return best


def _candidates(small: Array, need: Array, live: Array) -> Iterator[Array]:
    """k (candidate, channels) for every ratio; where they differ too much, cut off at either end.
    Quarters of an octave, since steps that are powers of two fit some sizes better than others."""
    for ratio in RATIOS:
        room = np.minimum(-small, ratio - need)
        top = max(room.min(), room[live].max() - MOST)
        bases = np.arange(room.min(), top + 1, 0.25)[:, None]
        yield np.clip(np.floor(room - bases), 0, MOST)


def _scale(k: Array, step: float, behind: float) -> Array:
    """s for every ``k``, where z has steps of ``step`` and y of ``behind``."""
    more = step * np.exp2(-k) < behind
    return np.where(more, ODD[k], np.exp2(-k))


def _step_behind(view: GraphView, pair: Pair, grids: Mapping[str, Grid]) -> float:
    """The step of the grid that y is rounded to, 0 where it is not."""
    tensor = view.node(pair.second.node).outputs[0]
    while tensor not in grids and len(view.consumers(tensor)) == 1:
        tensor = view.consumers(tensor)[0].outputs[0]
    return float(grids[tensor].scale) if tensor in grids else 0.0


def _step(reach: Array, qtype: QType) -> Array:
    """The step of a grid for each ``reach`` (candidate,): (candidate, 1)."""
    return fit(Range(-reach, reach), qtype).scale.astype(np.float64)[:, None]


def _does(
    subject: Subject, pair: Pair, now: Mapping[str, Array], between: Values
) -> tuple[Function, Values]:
    """The function of ``pair`` as ``now`` has it, and its products ``w * x`` on the samples."""

    def read(tensor: str | None) -> Array:
        return subject.constant(str(tensor), now).astype(np.float64)

    scale, inner = read(pair.second.weight).reshape(-1), read(pair.first.bias)
    weight = read(pair.first.weight)
    does = Function(weight * along(scale, 0, weight.ndim), inner * scale + read(pair.second.bias))
    old = subject.constant(str(pair.first.bias))  # what the samples were computed with
    axis = pair.first.axis

    def products(z: Array) -> Array:
        return np.asarray(
            (z - along(old, axis, z.ndim)) * along(scale.astype(z.dtype), axis, z.ndim)
        )

    return does, tuple(parallel_map(products, between))


def _seen(pair: Pair, does: Function, products: Values) -> tuple[Array, Array, Array]:
    """Per channel: the reach of the products, and the highest value and the variance of y."""
    axis = pair.first.axis
    over = other_axes(products[0], axis)
    bias = along(does.bias.astype(np.float32), axis, products[0].ndim)

    def look(product: Array) -> tuple[Array, Array, Array]:
        made = np.clip(product + bias, pair.lo, pair.hi)
        reach = np.maximum(product.max(axis=over), -product.min(axis=over))
        return reach, made.max(axis=over), _sums(made, axis)

    reach, highest, sums = zip(*parallel_map(look, products), strict=True)
    count = sum(p.size for p in products) / len(bias.reshape(-1))
    return (
        np.max(reach, axis=0),
        np.maximum(np.max(highest, axis=0), 0.0),
        _variance(np.sum(sums, axis=0), count),
    )


def _room(pair: Pair, does: Function, highest: Array) -> Array:
    """By how much each channel may grow: to the bound, and no weight beyond the largest."""
    if pair.grows is None:
        return np.ones(len(highest))
    size = channel_reach(does.weight, 0)
    with np.errstate(divide="ignore"):
        free = np.minimum(pair.grows.bound / highest, size.max() / size)
    grows = np.isfinite(free) & (highest > DEAD) & (size > DEAD) & (free >= 1)
    return np.clip(np.where(grows, free, 1.0), 1.0, 2.0**MOST)


def _counts(subject: Subject, pair: Pair, variance: Array) -> Array:
    """By how much an error of each channel of y counts."""
    if pair.chain is None or _is_depthwise(pair.chain.second):
        return 1 / np.maximum(variance, DEAD**2)
    weight = subject.constant(pair.chain.second.weight)
    return input_squares(pair.chain, weight, len(variance))


def _outer(pair: Pair, bias: Array, highest: Array) -> Array:
    """The bias that is left to the second convolution: between b and the middle of what the Clip
    lets pass, around which z need reach only half as far."""
    if not (np.isfinite(pair.lo) and np.isfinite(pair.hi)):
        return bias
    return bias + INWARD * ((pair.lo + highest) / 2 - bias)


def _divided(
    pair: Pair, does: Function, by: Array, outer: Array, types: tuple[QType, ...], behind: float
) -> dict[str, Array]:
    """The constants of ``pair``: ``by`` = 1 / s into the first, the rest into the second; of the
    bias about ``outer`` into the second, by as many steps as the first one's grid can tell."""
    wished = ((does.bias - outer) * by).astype(np.float32)
    told = fake_quantize(wished, fit(channel_range(wished, None), types[0]))
    bias = (does.bias - told / by).astype(np.float32)
    grid = fit(channel_range(bias, None), types[1])
    step = np.maximum(grid.scale, np.float32(behind))
    outer = (np.rint(np.clip(bias / step, -127, 127)) * step).astype(np.float32)
    inner = (does.bias - outer) * by
    return {
        pair.first.weight: (does.weight * along(by, 0, does.weight.ndim)).astype(np.float32),
        str(pair.first.bias): inner.astype(np.float32),
        pair.second.weight: (1 / by).astype(np.float32).reshape(-1, *(1,) * (does.weight.ndim - 1)),
        str(pair.second.bias): outer,
    }


def _windows(subject: Subject, layer: Layer, values: Values) -> Array:
    """E|x - E x|**2 over the windows that each output channel of ``layer`` meets; (channels,)."""
    weight = subject.constant(layer.weight)
    sums = np.sum(parallel_map(lambda v: _sums(v, 1), values), axis=0)
    count = sum(v.size for v in values) / values[0].shape[1]
    each = _variance(sums, count).reshape(layer.group, -1)
    per_group = each.sum(axis=1) * np.prod(weight.shape[2:])
    return np.repeat(per_group, len(weight) // layer.group)


def _sums(values: Array, axis: int) -> Array:
    """The sum and the sum of squares of each channel of ``axis``: (2, channels), float64."""
    return np.stack([channel_sums(values, axis), channel_sums(np.square(values), axis)])


def _variance(sums: Array, count: float) -> Array:
    """The variance (channels,) of ``count`` values each, from their ``sums`` (2, channels)."""
    mean, square = sums / count
    return np.asarray(np.maximum(square - mean**2, 0.0))


def _is_scaling(weight: Array, layer: Layer) -> bool:
    return _is_depthwise(layer) and weight.size == len(weight) and weight.ndim > 2


def _is_depthwise(layer: Layer) -> bool:
    return layer.weight_axis == 0 and layer.group > 1


def _is_convolution(view: GraphView, layer: Layer) -> bool:
    return layer.weight_axis == 0 and view.constants[layer.weight].ndim > 2
