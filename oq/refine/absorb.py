"""High-bias absorption: a channel that never comes near zero moves its minimum into the next bias.

After a Relu, a channel whose values all lie above ``a[c] > 0`` uses only the upper part of its
range. Its minimum is moved into the bias of the next layer,

    b1[c] -= a[c],   b2 += W2 a

which does not change the function as long as the channel stays above ``a[c]``, and leaves a smaller
channel, which equalization can scale up.  It requires that the next layer has no padding, since
padded zeros do not shift, and that the channel stays below the bound of its Clip.  (Nagel et al.
2019, arXiv:1906.04721, section 4.1.3; ``a`` there comes from BatchNorm's statistics, here it is the
minimum over the calibration samples.)
"""

import numpy as np

from oq.numerics.values import Array
from oq.refine.channel_statistics import channel_extremes
from oq.refine.equalize import all_samples
from oq.refine.layer_pairs import find_layer_pairs, input_sums
from oq.refine.subject import Change, Subject


def absorb(subject: Subject) -> Change:
    """New biases for every layer pair with such channels."""
    chains = [
        c
        for c in find_layer_pairs(subject.view, subject.plan)
        if c.floor and not c.padded and None not in (c.first.bias, c.second.bias)
    ]
    if not chains:
        return Change({}, "no Relu between a layer and one without padding, both with a bias")
    axes = {c.tensor: c.first.axis for c in chains}
    ends = channel_extremes(subject.model, axes, all_samples(subject), subject.sizing)
    changed: dict[str, Array] = {}
    moved: set[str] = set()
    count = 0
    for chain in chains:
        lo, hi = ends[chain.tensor]
        least = np.where((lo > 0) & (hi < chain.bound), lo, 0.0).astype(np.float64)
        if not least.any():
            continue
        moved.update((*chain.path, subject.view.node(chain.second.node).outputs[0]))
        count += int(np.count_nonzero(least))
        gained = input_sums(chain, subject.constant(chain.second.weight), least)
        for bias, by in ((chain.first.bias, -least), (chain.second.bias, gained)):
            if bias is not None:
                values = subject.constant(bias, changed)
                changed[bias] = (values + by.reshape(values.shape)).astype(values.dtype)
    note = f"{count} channels of {len(chains)} tensors shifted"
    return Change(changed, note, moved=frozenset(moved))
