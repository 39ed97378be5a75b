"""Where the values of a resized axis lie before it (ONNX, Resize-19).

Position i of an axis with ``after`` values is at x among the ``before`` ones
(``coordinate_transformation_mode``, with ``scale`` = after / before):

    half_pixel            (i + 1/2) / scale - 1/2
    half_pixel_symmetric  as half_pixel, what rounding the size cut off taken from both ends alike
    asymmetric            i / scale
    align_corners         i (before - 1) / (after - 1)
    pytorch_half_pixel    as half_pixel, 0 where ``after`` is 1
"""

from collections.abc import Callable, Mapping

import numpy as np

from oq.numerics.values import Array

Coordinates = Callable[[Array, float, int, int], Array]
"""(positions, scale, size before, size after) -> places before."""


def _half_pixel(i: Array, scale: float, before: int, after: int) -> Array:
    return np.asarray((i + 0.5) / scale - 0.5)


def _align_corners(i: Array, scale: float, before: int, after: int) -> Array:
    return np.asarray(i * (before - 1) / (after - 1)) if after > 1 else np.zeros_like(i)


def _symmetric(i: Array, scale: float, before: int, after: int) -> Array:
    middle = before / 2 * (1 - after / (scale * before))
    return np.asarray(middle + (i + 0.5) / scale - 0.5)


COORDINATES: Mapping[str, Coordinates] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "asymmetric": lambda i, scale, before, after: np.asarray(i / scale),
    "align_corners": _align_corners,
    "pytorch_half_pixel": lambda i, scale, before, after: (
        _half_pixel(i, scale, before, after) if after > 1 else np.zeros_like(i)
    ),
}
