"""Output channels whose weights are lost by per-tensor quantization, a frequent cause of collapse.

A channel is lost if all its weights are below half a step and round to 0, and starved if none
exceeds :data:`FEW` steps and they are not all equal.  Depthwise layers with folded BatchNorms have
channels whose ranges differ by factors of hundreds (Nagel et al. 2019, "Data-Free Quantization
Through Weight Equalization and Bias Correction", figure 2).
"""

import numpy as np

from oq.model.ops import weight_axis
from oq.model.view import GraphView
from oq.numerics.grid import fake_quantize
from oq.numerics.weights import other_axes
from oq.planning.spec import Plan, key
from oq.planning.target import Grids, Legalized
from oq.wording import counted

FEW = 4
SHARE = 0.25
"""Fraction of a layer's channels above which it is reported."""

SHOWN = 3


def report_lost_channels(plan: Plan, view: GraphView, grids: Grids) -> Legalized:
    """``grids`` unchanged, with a note on the layers that lose channels."""
    found = []
    for site in plan.sites:
        if site.role != "weight" or not view.is_constant(site.tensor) or not site.consumers:
            continue
        node, values = view.node(site.consumers[0]), np.abs(view.constants[site.tensor])
        axis = weight_axis(node.op, node.attributes, values.ndim)
        grid = grids[key(site)]
        if axis is None or values.ndim < 2 or grid.scale.size > 1:
            continue
        over = other_axes(values, axis)
        largest = values.max(axis=over)
        inexact = (fake_quantize(values, grid) != values).any(axis=over)
        starved = int(np.count_nonzero(inexact & (largest > 0) & (largest < FEW * grid.scale)))
        if starved >= SHARE * largest.size:
            found.append((starved / largest.size, f"{site.tensor!r} {starved} of {largest.size}"))
    if not found:
        return Legalized(grids)
    worst = [text for _, text in sorted(found, key=lambda f: -f[0])[:SHOWN]]
    more = ", ..." if len(found) > SHOWN else ""
    return Legalized(
        grids,
        (
            f"{counted(len(found), 'layer')} with output channels whose weights are below {FEW} "
            f"steps of the one scale of their tensor ({', '.join(worst)}{more}), so their outputs "
            "are lost; where equalize and rescale do not help, keep them in float (--keep-float)",
        ),
    )
