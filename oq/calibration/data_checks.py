"""Warnings about the calibration data: too few samples, odd values."""

from collections.abc import Mapping, Sequence

from oq.numerics.statistics import Statistics
from oq.numerics.values import FLOAT_DTYPES, TensorInfo

RAW_PIXELS = 32.0
"""Normalized inputs stay within some ten standard deviations; pixels reach 255."""

DIVIDED_TWICE = 0.02
"""Pixels / 255 reach 1; divided again they reach 1/255."""

FEW = 32


def data_warnings(
    inputs: Sequence[TensorInfo], statistics: Mapping[str, Statistics], samples: int
) -> tuple[str, ...]:
    """Warnings about the data.  Only rank-4 float inputs are treated as images."""
    found = [w for i in inputs if (w := _about(i, statistics.get(i.name))) is not None]
    if samples < FEW:
        found.append(f"only {samples} calibration samples; {FEW} or more are recommended")
    return tuple(found)


def _about(info: TensorInfo, seen: Statistics | None) -> str | None:
    is_image = info.dtype in FLOAT_DTYPES and info.shape is not None and len(info.shape) == 4
    if seen is None or not is_image or seen.count == 0:
        return None
    span = f"input {info.name!r} holds values {seen.lo:.4g}..{seen.hi:.4g}"
    if seen.lo == seen.hi:
        return f"{span}: every calibration value is the same"
    if seen.lo >= 0 and seen.hi > RAW_PIXELS:
        return f"{span}, which looks like raw pixels: is the division by 255 (or 127.5) missing?"
    if seen.lo >= 0 and seen.hi < DIVIDED_TWICE:
        return f"{span}, which looks like pixels divided by 255 twice"
    return None
