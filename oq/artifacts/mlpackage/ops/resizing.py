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


def resample(
    x: Array,
    coordinates: Array,
    sampling_mode: Array | str,
    padding_mode: Array | str,
    padding_value: Array | float,
    coordinates_mode: Array | str,
    align_corners: Array | bool,
) -> Array:
    """``x`` (sample, channel, row, column) at ``coordinates`` (sample, row, column, x and y).

    The value between four pixels, or the nearest, a half to even; outside lies ``padding_value``
    ("constant") or the pixel at the edge ("border").

    Raises:
        ModelError: another mode, or coordinates that are not in [-1, 1].
    """
    modes = str(sampling_mode), str(padding_mode), str(coordinates_mode)
    if modes[0] not in ("bilinear", "nearest") or modes[1] not in ("constant", "border"):
        raise ModelError(
            f"resample by {modes[0]!r} with {modes[1]!r} outside, which oq does not read"
        )
    if modes[2] != "normalized_minus_one_to_one":
        raise ModelError(f"coordinates {modes[2]!r} of resample, which oq does not read")
    ends, places = x.shape[:1:-1], []
    for size, at in zip(ends, np.moveaxis(coordinates.astype(np.float64), -1, 0), strict=True):
        full = (at + 1) / 2 * (size - 1) if align_corners else ((at + 1) * size - 1) / 2
        places.append(np.clip(full, 0, size - 1) if modes[1] == "border" else full)
    if modes[0] == "nearest":
        return _pixels(x, np.rint(places[0]), np.rint(places[1]), padding_value)
    corner = [np.floor(at) for at in places]
    found = np.zeros((*x.shape[:2], *coordinates.shape[1:3]))
    for right in (0, 1):
        for below in (0, 1):
            column, row = corner[0] + right, corner[1] + below
            share = (1 - np.abs(places[0] - column)) * (1 - np.abs(places[1] - row))
            found += share[:, None] * _pixels(x, column, row, padding_value)
    return found.astype(np.float32)


def _pixels(x: Array, column: Array, row: Array, outside: Array | float) -> Array:
    """The pixels at whole places (sample, row, column)."""
    height, width = x.shape[2:]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    i, j = (np.where(inside, at, 0).astype(np.int64) for at in (row, column))
    sample = np.arange(len(x))[:, None, None]
    found = np.moveaxis(x[sample, :, i, j], -1, 1)
    return np.asarray(np.where(inside[:, None], found, np.float32(outside)))
