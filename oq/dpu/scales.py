"""Scales that are powers of two: ``scale = 2**-position``."""

import numpy as np

from oq.numerics.values import Array


def position_of(scale: Array) -> int | None:
    """The position of ``scale = 2**-position``; None if it is not a single power of two.

    >>> position_of(np.float32(0.0625)), position_of(np.float32(0.03))
    (4, None)
    """
    values = np.unique(scale.astype(np.float64))
    if values.size != 1 or not (np.isfinite(values[0]) and values[0] > 0):
        return None
    mantissa, exponent = np.frexp(values[0])
    return 1 - int(exponent) if mantissa == 0.5 else None
