"""Cross-layer equalization: the channels of a tensor are scaled to similar ranges.

A tensor has a single scale, so a channel with small values uses few of the integer levels.  Between
two consecutive layers, channels can be scaled in the weights of both without changing the float
function (:mod:`oq.refine.layer_pairs`).  Channel c is scaled up by

    t[c] = (max over channels of m / m[c]) ** share

with m[c] the largest magnitude of the channel over the calibration samples, but not beyond the
bound of a Clip.  If the second layer is depthwise and the weights are quantized per channel,
scaling costs nothing in either and ``share`` is 1; else the second layer's weights get a wider
range and ``share`` is 1/2, which splits the spread equally between activations and weights.

For per-tensor weights, the ranges of the weights are equalized instead: ``t[c] = sqrt(r2[c] /
r1[c])`` with r1, r2 the ranges of channel c in the weights of the first and the second layer.
(Nagel et al. 2019, arXiv:1906.04721, section 4.1; ranges of activations: Meller et al. 2019, "Same,
Same But Different", arXiv:1902.01917; the exponent: Xiao et al. 2023, SmoothQuant,
arXiv:2211.10438, equation 4.)
"""

from collections.abc import Iterator, Mapping

import numpy as np

from oq.data.samples import BATCH
from oq.numerics.statistics import MASK, Statistics
from oq.numerics.values import Array
from oq.numerics.weights import channel_reach
from oq.planning.spec import Own
from oq.refine.channel_statistics import channel_extremes
from oq.refine.layer_pairs import (
    LayerPair,
    find_layer_pairs,
    input_reach,
    scale_first,
    scale_second,
)
from oq.refine.subject import Change, Feeds, Subject

SHARE = 0.5
LARGEST = 64.0
"""Largest scaling factor (six bits): a channel that would need more is almost dead, and its weights
would dominate the others."""


def equalize(subject: Subject) -> Change:
    """New weights and biases for every layer pair that gains."""
    found = find_layer_pairs(subject.view, subject.plan)
    chains = tuple(c for c in found if c.tensor not in subject.sized)  # by an earlier step
    if not chains:
        return Change({}, "no two consecutive layers with unshared constants")
    axes = {c.tensor: c.first.axis for c in chains}
    ends = channel_extremes(subject.model, axes, all_samples(subject), subject.sizing)
    changed = subject.changes()
    moved: set[str] = set()
    seen: dict[str, Statistics] = {}
    scaled = 0
    for chain in chains:
        by = factors(subject, chain, changed, *ends[chain.tensor])
        scaled += int(np.count_nonzero(by != 1))
        moved.update(chain.path)
        seen |= _scaled(subject, chain, by, *ends[chain.tensor])
        first, second, bias = chain.first.weight, chain.second.weight, chain.first.bias
        changed[first] = scale_first(chain, subject.constant(first, changed), by)
        if bias is not None:
            values = subject.constant(bias, changed)
            changed[bias] = (values * by.reshape(values.shape)).astype(values.dtype)
        changed[second] = scale_second(chain, subject.constant(second, changed), 1 / by)
    note = f"{scaled} channels of {len(chains)} tensors scaled"
    return Change(changed, note, moved=frozenset(moved), seen=seen)


def factors(
    subject: Subject, chain: LayerPair, changed: Mapping[str, Array], lo: Array, hi: Array
) -> Array:
    """``t`` (channels,) of the layer pair ``chain``, whose channels lie between ``lo`` and
    ``hi``."""
    reach = np.maximum(np.abs(lo), np.abs(hi)).astype(np.float64)
    front, behind = (
        subject.constant(w, changed) for w in (chain.first.weight, chain.second.weight)
    )
    live = (reach > 0) & np.isfinite(reach)
    room = np.full(reach.shape, LARGEST)
    room[live] = np.minimum(np.maximum(chain.bound / reach[live], 1.0), LARGEST)
    if _per_channel(subject, chain):
        grouped = chain.second.group == len(reach) > 1
        ratio = np.where(live, reach.max(where=live, initial=0.0) / np.where(live, reach, 1.0), 1.0)
        wanted = ratio ** (1.0 if grouped else SHARE)
    else:
        r1 = channel_reach(front, chain.first.weight_axis)
        r2 = input_reach(chain, behind, len(reach))
        both = (r1 > 0) & (r2 > 0)
        wanted = np.where(both, np.sqrt(np.where(both, r2, 1.0) / np.where(both, r1, 1.0)), 1.0)
        if np.isfinite(chain.bound):  # only upwards: the bound must stay where it was
            wanted = wanted / wanted.min()
        live = live & both
    least = 1.0 if np.isfinite(chain.bound) else 1 / LARGEST
    return np.where(live, np.clip(wanted, least, room), 1.0)


def _scaled(
    subject: Subject, chain: LayerPair, by: Array, lo: Array, hi: Array
) -> dict[str, Statistics]:
    """The statistics of the tensor of ``chain``, of which channels between ``lo`` and ``hi`` are
    scaled ``by``: counts and extremes, if all samples were seen and all their values are usable."""
    before = subject.seen.get(chain.tensor)
    if subject.source is None or before is None or before.nonfinite or before.masked:
        return {}
    ends = float((lo * by).min()) + 0.0, float((hi * by).max()) + 0.0  # -0 becomes 0
    return {} if max(map(abs, ends)) >= MASK else {chain.tensor: Statistics(before.count, 0, *ends)}


def all_samples(subject: Subject) -> Iterator[Feeds]:
    """All calibration samples, or those of the step if there is no stream."""
    if subject.source is None:
        yield from subject.samples
    else:
        yield from (b.feeds for b in subject.source.batches(subject.sizing or BATCH))


def _per_channel(subject: Subject, chain: LayerPair) -> bool:
    spec = next(s.spec for s in subject.plan.sites if s.tensor == chain.first.weight)
    return isinstance(spec, Own) and spec.axis is not None
