"""Error gains of the layers that read a tensor (:class:`oq.numerics.calibrator.ErrorGains`).

With weights ``w`` (out, everything else), an output element of a layer accumulates ``sum_i w_i
e_i``.  For independent errors with variance v and mean m, its power is ``v sum w^2`` plus ``(m sum
w)^2``; both are averaged over the output channels and summed over the layers.  A reader without
constant weights, or with weights of no values (Add, pooling, a head that was cut off), has gain 1.
"""

import numpy as np

from oq.model.ops import weight_axis, weight_input
from oq.model.view import GraphView, NodeView
from oq.numerics.calibrator import ErrorGains
from oq.planning.spec import Site


def error_gains(view: GraphView, site: Site) -> ErrorGains:
    """The gains of all readers of the quantized copy at ``site``."""
    nodes = [
        n for n in view.consumers(site.tensor) if not site.consumers or n.name in site.consumers
    ]
    found = [_weigh(view, n) for n in nodes]
    if not found:
        return ErrorGains()
    return ErrorGains(sum(f.noise for f in found), sum(f.bias for f in found))


def _weigh(view: GraphView, node: NodeView) -> ErrorGains:
    name = weight_input(node.op, node.inputs)
    if not name or not view.is_constant(name):
        return ErrorGains()
    weight = view.constants[name].astype(np.float64)
    if not weight.size:
        return ErrorGains()
    axis = weight_axis(node.op, node.attributes, weight.ndim) if weight.ndim > 1 else None
    flat = weight.reshape(1, -1) if axis is None else np.moveaxis(weight, axis, 0)
    flat = flat.reshape(flat.shape[0], -1)
    return ErrorGains(float((flat**2).sum(axis=1).mean()), float((flat.sum(axis=1) ** 2).mean()))
