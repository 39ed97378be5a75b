"""Basic types of quantization: integer types, ranges, tensors and batches.

A **grid** (scale and zero point) maps a real value to an integer code: ``code = clip(round(x /
scale) + zero_point)`` (:mod:`oq.numerics.grid` has both equations).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""A NumPy array; docstrings give its axes and meaning."""

Shape = tuple[int | str | None, ...]
"""One entry per axis: a size, the name of a dynamic size, or None if unknown."""


FLOAT_DTYPES = frozenset({"float32", "float16", "bfloat16", "float64"})

STRING = "str"
"""The dtype of a tensor of strings, whose arrays are NumPy's of str."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """The type of a tensor: NumPy dtype name and shape by axes; of an input, whether a feed may
    leave it out (``optional``)."""

    name: str
    dtype: str | None
    shape: Shape | None
    optional: bool = False


Scale = Literal["float32", "float16", "power_of_two"]
"""Allowed scales: any float32, those representable in float16, or powers of two."""


@dataclass(frozen=True, slots=True)
class QType:
    """An integer type with its range of codes, ``qmin..qmax`` stored as ``dtype``.

    ``symmetric`` fixes the zero point at 0, with scale ``max|x| / qmax``, so that full-range int8
    (-128..127) reaches -128 only by saturation, as in TensorRT; with ``qmin`` 0 it is for values
    that are never negative.  ``dtype`` is NumPy's name, or that of ml_dtypes: int4, float8_e4m3fn
    (FP8: 4 bits of exponent, 3 of fraction, finite up to 448).

    >>> INT8_NARROW.levels
    255
    """

    dtype: str
    qmin: int
    qmax: int
    symmetric: bool
    scale: Scale = "float32"

    @property
    def levels(self) -> int:
        """Number of codes."""
        return self.qmax - self.qmin + 1

    @property
    def uniform(self) -> bool:
        """Whether the codes are integers, equally spaced: False for float8, whose error is
        relative."""
        return not self.dtype.startswith("float")

    def __str__(self) -> str:
        kind = "symmetric" if self.symmetric else "affine"
        scale = "" if self.scale == "float32" else f", {self.scale.replace('_', ' ')} scale"
        return f"{self.dtype} {kind}{scale}"


UINT8 = QType("uint8", 0, 255, symmetric=False)
UINT8_POSITIVE = QType("uint8", 0, 255, symmetric=True)
INT8 = QType("int8", -128, 127, symmetric=True)
INT8_AFFINE = QType("int8", -128, 127, symmetric=False)
INT8_NARROW = QType("int8", -127, 127, symmetric=True)
INT16 = QType("int16", -(2**15), 2**15 - 1, symmetric=True)
UINT16 = QType("uint16", 0, 2**16 - 1, symmetric=False)
INT4 = QType("int4", -8, 7, symmetric=True)
UINT4 = QType("uint4", 0, 15, symmetric=False)
FLOAT8 = QType("float8_e4m3fn", -448, 448, symmetric=True)
INT32 = QType("int32", -(2**31), 2**31 - 1, symmetric=True)


@dataclass(frozen=True, slots=True)
class Range:
    """The real values to cover, ``lo <= 0 <= hi`` in every channel.

    Shape ``()`` per tensor or ``(channels,)`` per channel.  Every range contains zero, because
    padding, ReLU and skipped values must be exact.

    Raises:
        ValueError: a bound is not finite, or zero lies outside.
    """

    lo: Array
    hi: Array

    def __post_init__(self) -> None:
        finite = np.isfinite(self.lo).all() and np.isfinite(self.hi).all()
        if not (finite and (self.lo <= 0).all() and (self.hi >= 0).all()):
            raise ValueError(f"a range needs finite lo <= 0 <= hi, got {self.lo}..{self.hi}")


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples: ``feeds[input]`` has axes (sample, ...), ``labels`` has axes (sample,).

    ``alike`` are the inputs without a samples' axis, whose array goes to every sample of the batch:
    a scalar, a state, a cache.
    """

    feeds: Mapping[str, Array]
    labels: Array | None = field(default=None)
    alike: frozenset[str] = frozenset()

    @property
    def rows(self) -> int | None:
        """The common length of the first axis of all feeds that have samples; None where they
        differ, or where none has.

        >>> Batch({"a": np.zeros((4, 3)), "b": np.zeros(())}, alike=frozenset("b")).rows
        4
        """
        sizes = {
            array.shape[0] if array.ndim else None
            for name, array in self.feeds.items()
            if name not in self.alike
        }
        return sizes.pop() if len(sizes) == 1 else None

    def part(self, start: int, stop: int) -> "Batch":
        """Samples ``start..stop-1``, as views."""
        labels = None if self.labels is None else self.labels[start:stop]
        feeds = {k: a if k in self.alike else a[start:stop] for k, a in self.feeds.items()}
        return Batch(feeds, labels, self.alike)

    @property
    def divisible(self) -> bool:
        """Whether the batch may be cut and joined: its samples lie along the first axis, and what
        goes to all of them has no axes.  A state is that of its own samples."""
        return self.rows is not None and not any(self.feeds[name].ndim for name in self.alike)

    @property
    def samples(self) -> int:
        """``rows``, or 1 for a complete feed without a samples' axis."""
        found = self.rows
        return 1 if found is None else found
