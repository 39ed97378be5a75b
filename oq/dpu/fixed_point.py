"""Fixed-point numbers of the DPU between two roundings.

    real = numerator * 2**-position

All intermediate values of a DPU kernel have this form, because every scale is a power of two.  The
integers are stored in floating point, for which BLAS is fast: float32 represents every integer up
to 2**24 and float64 every integer up to 2**53, so sums and products below that are exact in any
order. ``reach`` bounds the numerators and determines the type (:func:`hold`).

Sources: AMD's CPU runner of xmodels (Vitis-AI, ``src/vai_runtime/cpu-runner``: ``conv2d_fix``,
``eltwise_fix``, ``pool_fix``) and Quark's ``simulate_dpu``.
"""

from dataclasses import dataclass, replace

import numpy as np

from oq.numerics.values import Array

FLOAT32_INTEGERS = 2.0**24
FLOAT64_INTEGERS = 2.0**53
EXPONENTS = 100
"""Positions at which the product of a float32 integer and the scale is a normal float32."""

RELU6_CODE = 96
"""``6 * 2**4``: the integer at which the DPU's ReLU6 clips, for any position."""

RELU6_POSITION = 4
"""The largest position at which the DPU's ReLU6 clips."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How a generation of the hardware rounds.

    ``half_up``: ``floor(x + 0.5)``, else half to even as ONNX's QuantizeLinear.  ``bias_floor``: a
    bias finer than the accumulator with its guard bit is truncated, else it is added exactly.
    ``leaky``: the only slope of LeakyReLU in 256ths, None for any.
    """

    name: str
    half_up: bool = True
    bias_floor: bool = True
    leaky: int | None = None


DPU = Arithmetic("dpu")
"""The edge DPU's CPU runner: half up, one guard bit under the bias."""

NPU = Arithmetic("npu", half_up=False, bias_floor=False)
"""The newer runner (2022 and later) set to onnxruntime's rounding.  Which rounding Ryzen AI's
hardware uses is not confirmed by any public page."""


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """A tensor of ``numerator * 2**-position`` (any axes), numerators within ``+-reach``.

    ``summed``: a sum of products without bias.  ``capped``: a ReLU6 is applied when the value is
    rounded. ``gain``: the factor by which the hardware's mean or HardSigmoid differs from the exact
    one, and which a following Mul may contain.
    """

    numerator: Array
    position: int
    reach: float
    summed: bool = False
    capped: bool = False
    gain: float = 1.0

    def real(self) -> Array:
        """The values as float32; a ReLU6 that is not followed by rounding clips at 6."""
        held = self.numerator if abs(self.position) < EXPONENTS else self.numerator.astype(float)
        values = held * held.dtype.type(2.0**-self.position)  # exact: a power of two
        values = np.minimum(values, 6.0) if self.capped else values
        return np.asarray(values.astype(np.float32, copy=False))

    def with_codes(self, numerator: Array) -> "FixedPoint":
        """The same scale with other numerators, for ops that only move values."""
        return replace(self, numerator=numerator)


def hold(values: Array, reach: float) -> Array:
    """``values`` in the smallest floating type that represents integers up to ``reach`` exactly.

    Raises:
        OverflowError: not even float64 is.
    """
    if reach > FLOAT64_INTEGERS:
        raise OverflowError(f"numerators up to {reach:g} pass 2**53")
    dtype = np.float32 if reach <= FLOAT32_INTEGERS else np.float64
    return values.astype(dtype, copy=False)


def scaled(x: FixedPoint, shift: int) -> tuple[Array, float]:
    """Numerators and reach of ``x`` at position ``x.position + shift``, ``shift >= 0``."""
    reach = x.reach * 2.0**shift
    values = hold(x.numerator, reach)
    return (values * values.dtype.type(2.0**shift) if shift else values), reach


def floored(x: FixedPoint, shift: int) -> tuple[Array, float]:
    """As :func:`scaled` for any ``shift``: bits below the new position are truncated (floor)."""
    if shift >= 0:
        return scaled(x, shift)
    values = np.floor(x.numerator * x.numerator.dtype.type(2.0**shift))
    return values, float(np.ceil(x.reach * 2.0**shift))


def rounded(x: FixedPoint, position: int, low: int, high: int, arithmetic: Arithmetic) -> Array:
    """The integers of ``x`` at ``position``, saturated to ``low..high``, as floats.

        code = clip(round(numerator * 2**(position - x.position)), low, high)

    A ReLU6 clips at the integer 96 if ``position <= 4``, and not at all at larger positions, where
    int8 saturates below 6 anyway: it is exact at position 4 only.
    """
    shift = position - x.position
    # in units of the numerator, 0.5 is 2**-(shift + 1), which must not need a bit below its last
    fits = shift < 0 and x.reach + 2.0 ** -(shift + 1) <= FLOAT32_INTEGERS
    values = hold(x.numerator, x.reach if fits else FLOAT64_INTEGERS)
    steps = np.asarray(values * values.dtype.type(2.0**shift))
    if arithmetic.half_up:
        steps += steps.dtype.type(0.5)
        np.floor(steps, out=steps)
    else:
        np.rint(steps, out=steps)
    if x.capped and position <= RELU6_POSITION:
        high = min(high, RELU6_CODE)
    return np.clip(steps, low, high, out=steps)
