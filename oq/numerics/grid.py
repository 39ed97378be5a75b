"""Range -> scale and zero point, and the equations of ONNX's QuantizeLinear and DequantizeLinear.

    code = clip(rint(x / scale) + zero_point, qmin, qmax)        rint: half to even
    real = (code - zero_point) * scale

All arithmetic is float32, as in onnxruntime, so both equations agree with its operators bit for bit
(ONNX operator specification, QuantizeLinear-21 and DequantizeLinear-21).  For float8, the code is
the float8 nearest to ``x / scale``, half to even, saturated at 448 (``saturate=1``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import ml_dtypes  # noqa: F401  # gives NumPy the names of float8 and int4
import numpy as np

from oq.numerics.values import Array, QType, Range, Scale

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""The smallest normal float32: below it a scale loses bits and a reciprocal overflows."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Scale and zero point.

    ``scale`` (float32) and ``zero_point`` (the code of real 0, dtype ``qtype.dtype``) have shape ()
    if per-tensor, or (channels,) along ``axis``; with ``block``, that of the tensor with ``axis``
    divided by the block size, rounded up (ONNX ``block_size``): the last block may be shorter.

    Raises:
        ValueError: a scale is not finite and positive, or a zero point lies outside the codes.
    """

    qtype: QType
    scale: Array
    zero_point: Array
    axis: int | None = None
    block: int | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ValueError(f"scales must be finite and positive, got {self.scale}")
        zero = self.zero_point.astype(np.int64)
        if (zero < self.qtype.qmin).any() or (zero > self.qtype.qmax).any():
            raise ValueError(f"zero point {zero} outside {self.qtype.qmin}..{self.qtype.qmax}")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Grid)
            and self.qtype == other.qtype
            and (self.axis, self.block) == (other.axis, other.block)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays inside

    @property
    def lowest(self) -> Array:
        """The real value of code ``qmin``, shape as ``scale``."""
        return self._real(self.qtype.qmin)

    @property
    def highest(self) -> Array:
        """The real value of code ``qmax``, shape as ``scale``."""
        return self._real(self.qtype.qmax)

    def _real(self, code: int) -> Array:
        if self.block is not None:
            flat = replace(self, block=1)
        else:
            flat = self if self.axis is None else replace(self, axis=0)
        return dequantize(np.full(self.scale.shape, code, self.qtype.dtype), flat)


def _any_float32(scale: Array) -> Array:
    return np.maximum(scale, SMALLEST_SCALE).astype(np.float32)


def _in_float16(scale: Array) -> Array:
    """The nearest float16 within its normal numbers, [2**-14, 65504]: subnormal ones lose bits
    (a scale of 1e-7 is 19 % off as float16)."""
    limits = np.finfo(np.float16)
    held = np.clip(scale, float(limits.smallest_normal), float(limits.max))
    return held.astype(np.float16).astype(np.float32)


def _power_of_two(scale: Array) -> Array:
    """The smallest 2**k that is not below ``scale``: nothing of the range is cut off.

    Which range to cover is the calibrator's choice; "mse" tries the finer ones that clip.
    """
    share, exponent = np.frexp(scale)  # scale = share * 2**exponent, share in [0.5, 1)
    power = np.where(share == 0.5, exponent - 1, exponent)
    found: Array = np.ldexp(1.0, np.clip(power, -126, 127)).astype(np.float32)
    return found


SCALES: Mapping[Scale, Callable[[Array], Array]] = {
    "float32": _any_float32,
    "float16": _in_float16,
    "power_of_two": _power_of_two,
}
"""Scale kind -> function from a desired scale (float64, any axes) to the allowed one as float32."""


def fit(values: Range, qtype: QType, axis: int | None = None, block: int | None = None) -> Grid:
    """The grid of ``qtype`` with the smallest scale that covers ``values``.

    Symmetric: ``scale = max(|lo|, |hi|) / qmax``, zero point 0 (``hi / qmax`` if qmin is 0).
    Affine: ``scale = (hi - lo) / (qmax - qmin)``, ``zero_point = rint(qmin - lo / scale)`` (Jacob
    et al. 2018, "Quantization and Training of Neural Networks", section 2.1).

    The scale is then changed to an allowed one (:data:`SCALES`).  A range of only zeros gets the
    scale of [-1, 1] or [0, 1]; 0 is always represented exactly.
    """
    lo, hi = values.lo.astype(np.float64), values.hi.astype(np.float64)
    if qtype.symmetric:
        reach, steps = (np.maximum(-lo, hi) if qtype.qmin < 0 else hi), qtype.qmax
    else:
        reach, steps = hi - lo, qtype.qmax - qtype.qmin
    scale = SCALES[qtype.scale](np.where(reach > 0, reach, 1.0) / steps)
    if qtype.symmetric:
        zero = np.zeros(scale.shape, np.int64)
    else:
        exact = qtype.qmin - lo / scale.astype(np.float64)
        zero = np.clip(np.rint(exact), qtype.qmin, qtype.qmax).astype(np.int64)
    return Grid(qtype, np.asarray(scale), np.asarray(zero.astype(qtype.dtype)), axis, block)


def scaled(grid: Grid, factor: float) -> Grid:
    """``grid`` for values multiplied by ``factor`` > 0: the same codes with ``factor`` times the
    scale.

    The scale is changed to an allowed one: by half of its last bit at most.
    """
    scale = SCALES[grid.qtype.scale](grid.scale.astype(np.float64) * factor)
    return replace(grid, scale=np.asarray(scale))


def quantize(x: Array, grid: Grid) -> Array:
    """The codes of ``x`` (real, any axes), dtype ``grid.qtype.dtype``.

    The first equation of this module.  A narrow range (-127..127) is also clipped to its bounds,
    which QuantizeLinear does not do: it only saturates at those of the dtype.
    """
    if grid.block is not None and grid.axis is not None and x.shape[grid.axis] % grid.block:
        return _with_short_block(x, grid, grid.axis % x.ndim, grid.block)
    real, scale, zero = _aligned(x, grid)
    codes = np.empty(real.shape, grid.qtype.dtype)
    if real.size <= PIECE:
        _round(real, scale, zero, grid.qtype, codes, np.empty(real.shape, np.float32))
        return codes.reshape(x.shape)
    rows = max(PIECE * len(real) // real.size, 1)
    room = np.empty((rows, *real.shape[1:]), np.float32)
    for start in range(0, len(real), rows):
        at = slice(start, start + rows)
        near = [p[at] if p.ndim == real.ndim and len(p) > 1 else p for p in (scale, zero)]
        _round(real[at], near[0], near[1], grid.qtype, codes[at], room[: len(real[at])])
    return codes.reshape(x.shape)


PIECE = 2**16
"""Values that are quantized at a time, in memory that a processor's cache holds."""


def _aligned(x: Array, grid: Grid) -> tuple[Array, Array, Array]:
    """``x`` with an axis of whole blocks split in two, and the scale and zero point that broadcast
    to it, without a copy per value."""
    if grid.block is None or grid.axis is None:
        return x, *spread(grid, x.shape)
    axis = grid.axis % x.ndim
    split = (*x.shape[:axis], x.shape[axis] // grid.block, grid.block, *x.shape[axis + 1 :])
    scale, zero = (np.expand_dims(part, axis + 1) for part in (grid.scale, grid.zero_point))
    return x.reshape(split), scale, zero.astype(np.int64)


def _with_short_block(x: Array, grid: Grid, axis: int, block: int) -> Array:
    """The codes of ``x``, whose last block along ``axis`` is shorter than the others."""
    whole = x.shape[axis] // block
    cut = (slice(None),) * axis
    made = [
        quantize(
            x[(*cut, values)],
            replace(grid, scale=grid.scale[at], zero_point=grid.zero_point[at], block=size),
        )
        for values, at, size in (
            (slice(0, whole * block), (*cut, slice(0, whole)), block),
            (slice(whole * block, None), (*cut, slice(whole, None)), x.shape[axis] % block),
        )
    ]
    return np.concatenate(made, axis)


EXACT = 2**23
"""Up to here float32 holds every integer, and its sums."""


def _round(x: Array, scale: Array, zero: Array, qtype: QType, codes: Array, steps: Array) -> None:
    """Write the codes of ``x`` with ``scale`` and ``zero``, which broadcast to it, to ``codes``;
    ``steps``: float32 values of room."""
    with np.errstate(over="ignore"):  # infinitely many steps saturate like too many
        np.divide(x.astype(np.float32, copy=False), scale, out=steps)
    if not qtype.uniform:
        codes[...] = np.clip(steps, qtype.qmin, qtype.qmax)
        return
    np.rint(steps, out=steps)
    small = qtype.qmax - qtype.qmin < EXACT
    real, whole = (np.float32, np.int32) if small else (np.float64, np.int64)
    if zero.size and (zero == zero.flat[0]).all():
        zero = zero.flat[0]  # one bound for all takes a third of the time
    low, high = (qtype.qmin - zero).astype(real), (qtype.qmax - zero).astype(real)
    steps = steps.astype(real, copy=False)
    np.clip(steps, low, high, out=steps)
    with np.errstate(invalid="ignore"):
        made: Array = steps.astype(whole)
    codes[...] = made + zero.astype(whole) if np.any(zero) else made


def dequantize(codes: Array, grid: Grid) -> Array:
    """The real values (float32) of ``codes`` (any axes): the second equation of this module."""
    scale, zero = spread(grid, codes.shape)
    if not grid.qtype.uniform:
        return codes.astype(np.float32) * scale
    whole = np.int32 if codes.dtype.itemsize < 4 else np.int64  # differences fit
    steps: Array = (codes.astype(whole) - zero.astype(whole)).astype(np.float32)
    return steps * scale


def fake_quantize(x: Array, grid: Grid) -> Array:
    """``dequantize(quantize(x))``: fake quantization, as by a Q/DQ pair."""
    return dequantize(quantize(x, grid), grid)


def spread(grid: Grid, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Scale (float32) and zero point (int64), shaped to broadcast over a tensor of ``shape``."""
    zero = grid.zero_point.astype(np.int64)
    if grid.axis is None:
        return grid.scale, zero
    if grid.block is not None:
        # element i of the axis is in block i // block_size; the last block may be shorter
        block_of = np.arange(shape[grid.axis]) // grid.block
        return np.take(grid.scale, block_of, grid.axis), np.take(zero, block_of, grid.axis)
    alone = [1] * len(shape)
    alone[grid.axis] = -1
    return grid.scale.reshape(alone), zero.reshape(alone)
