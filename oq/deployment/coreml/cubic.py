"""Cubic interpolation as products with constant matrices; source: ONNX's Resize."""

from collections.abc import Sequence

import numpy as np

from oq.deployment.coreml.net import Net, refusal
from oq.model.resizing import COORDINATES, Coordinates
from oq.model.view import NodeView
from oq.numerics.values import Array

PLACES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
"""ONNX's coordinate modes that are taken here."""


def cubic(net: Net, node: NodeView, scales: Sequence[float], sizes: Sequence[int | None]) -> None:
    """Each axis is a matrix that every row, or column, is multiplied with."""
    mode = str(node.attributes.get("coordinate_transformation_mode", "half_pixel"))
    if mode not in PLACES:
        raise refusal(node, f"coordinates {mode!r}")
    before, output = net.shape(node.inputs[0])[2:], node.outputs[0]
    x = net.var(node.inputs[0])
    for axis, (scale, size) in enumerate(zip(scales, sizes, strict=True)):
        if size is None:
            raise refusal(node, "a free height or width, and cubic interpolation")
        if scale == 1.0:
            continue
        matrix = weights(node, int(before[axis]), size, scale, COORDINATES[mode])[None, None]
        if axis == 0:
            x = net.step(output, "matmul", x=matrix, y=x)
        else:
            x = net.step(output, "matmul", x=x, y=np.ascontiguousarray(matrix.swapaxes(2, 3)))
    net.put(output, "identity", x=x)


def weights(node: NodeView, before: int, after: int, scale: float, where: Coordinates) -> Array:
    """The share of each of ``before`` values in each of ``after``."""
    slope = float(node.attributes.get("cubic_coeff_a", -0.75))
    at = where(np.arange(after, dtype=np.float64), scale, before, after)
    found = np.zeros((after, before))
    rows = np.arange(after)
    for tap in (-1, 0, 1, 2):
        places = np.floor(at) + tap
        share = kernel(np.abs(at - places), slope)
        if node.attributes.get("exclude_outside", 0):
            share = np.where((places >= 0) & (places < before), share, 0)
        np.add.at(found, (rows, places.clip(0, before - 1).astype(np.int64)), share)
    if node.attributes.get("exclude_outside", 0):
        found /= found.sum(1, keepdims=True)
    return found.astype(np.float32)


def kernel(far: Array, slope: float) -> Array:
    """The cubic convolution kernel (Keys 1981) at the distances ``far``."""
    near = (slope + 2) * far**3 - (slope + 3) * far**2 + 1
    beyond = slope * (far**3 - 5 * far**2 + 8 * far - 4)
    return np.where(far <= 1, near, np.where(far < 2, beyond, 0.0))
