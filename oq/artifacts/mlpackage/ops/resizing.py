"""Resizing of the last two axes."""

import numpy as np

from oq.errors import ModelError
from oq.numerics.values import Array


def points(mode: str, size: int, count: int) -> Array:
    """Where ``count`` outputs lie on an axis of ``size`` inputs, by the sampling ``mode``.

    Raises:
        ModelError: another mode.
    """
    i, last = np.arange(count, dtype=np.float64), size - 1
    match mode:
        case "STRICT_ALIGN_CORNERS":
            found = i * (last / max(count - 1, 1))
        case "ALIGN_CORNERS":
            found = i * (last / (count - 1)) if count > 1 else np.full(1, last / 2)
        case "DEFAULT":
            found = i * (size / count)
        case "OFFSET_CORNERS":
            step = max(1, last) / count
            found = 0.5 * step + i * step
        case "UNALIGN_CORNERS":
            found = (i + 0.5) * (size / count) - 0.5
        case _:
            raise ModelError(f"sampling mode {mode!r}, which oq does not read")
    return np.clip(found, 0, last)


def _interpolate(x: Array, where: Array, axis: int) -> Array:
    below = np.floor(where).astype(np.int64)
    above = np.minimum(below + 1, x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    share = (where - below).astype(np.float32).reshape(shape)
    return np.asarray(x.take(below, axis) * (1 - share) + x.take(above, axis) * share)


def _bilinear(x: Array, rows: Array, columns: Array) -> Array:
    return _interpolate(_interpolate(x, rows, x.ndim - 2), columns, x.ndim - 1)


def resize_bilinear(
    x: Array,
    target_size_height: Array | int = 1,
    target_size_width: Array | int = 1,
    sampling_mode: Array | str = "DEFAULT",
) -> Array:
    """Linear interpolation between the four inputs around each point."""
    mode = str(sampling_mode)
    rows = points(mode, x.shape[-2], int(target_size_height))
    return _bilinear(x, rows, points(mode, x.shape[-1], int(target_size_width)))


def upsample_bilinear(
    x: Array,
    scale_factor_height: Array | float = 1,
    scale_factor_width: Array | float = 1,
    align_corners: Array | bool = True,
    half_pixel_centers: Array | bool | None = None,
) -> Array:
    """As :func:`resize_bilinear`, to ``floor(size factor)``; the step comes from the two sizes.

    Raises:
        ModelError: corners aligned and half pixels at once.
    """
    half = not align_corners if half_pixel_centers is None else bool(half_pixel_centers)
    if align_corners and half:
        raise ModelError("upsample_bilinear with align_corners and half_pixel_centers")
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if half else "DEFAULT"
    height = _scaled(x.shape[-2], scale_factor_height)
    width = _scaled(x.shape[-1], scale_factor_width)
    return resize_bilinear(x, height, width, mode)


def _scaled(size: int, factor: Array | float) -> int:
    # float32: 1.1 as a package holds it, times 10, is 11 and not 10
    return int(np.floor(np.float32(size) * np.float32(factor)))


def _nearest(size: int, count: int) -> Array:
    return np.minimum(np.arange(count) * size // count, size - 1)


def resize_nearest_neighbor(x: Array, target_size_height: Array, target_size_width: Array) -> Array:
    """The input at ``floor(i size / count)``."""
    rows = _nearest(x.shape[-2], int(target_size_height))
    return x.take(rows, -2).take(_nearest(x.shape[-1], int(target_size_width)), -1)


def upsample_nearest_neighbor(
    x: Array, scale_factor_height: Array | float = 1, scale_factor_width: Array | float = 1
) -> Array:
    """As :func:`resize_nearest_neighbor`, to ``floor(size factor)``."""
    height = _scaled(x.shape[-2], scale_factor_height)
    width = _scaled(x.shape[-1], scale_factor_width)
    return resize_nearest_neighbor(x, np.asarray(height), np.asarray(width))


def resize(
    x: Array,
    shape: Array,
    resized_dims: Array,
    interpolation_mode: Array | str = "LINEAR",
    sampling_mode: Array | str = "DEFAULT",
) -> Array:
    """The last ``resized_dims`` axes to the sizes at the end of ``shape``; 0 keeps an axis.

    Raises:
        ModelError: a nearest neighbour by another rule than ``floor(i size / count)``.
    """
    made, count = x, int(resized_dims)
    nearest = str(interpolation_mode) == "NEAREST_NEIGHBOR"
    if nearest and str(sampling_mode) != "DEFAULT":
        raise ModelError(f"nearest neighbours sampled by {str(sampling_mode)!r}")
    for axis, size in zip(range(x.ndim - count, x.ndim), np.ravel(shape)[-count:], strict=True):
        target = int(size) or x.shape[axis]
        if nearest:
            made = made.take(_nearest(x.shape[axis], target), axis)
        else:
            made = _interpolate(made, points(str(sampling_mode), x.shape[axis], target), axis)
    return made


def crop(x: Array, crop_height: Array, crop_width: Array) -> Array:
    """Without so many rows and columns at either end."""
    (top, bottom), (left, right) = crop_height.tolist(), crop_width.tolist()
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]
