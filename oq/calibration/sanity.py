"""What a run should be distrusted for: odd data, layers left in float, accuracy not measured."""

from collections.abc import Mapping, Sequence

from oq.comparison.compare import Verification
from oq.ops import facts
from oq.plan import KEPT, NOT_CHOSEN
from oq.spec import FLOAT_DTYPES, Plan, Skip, TensorInfo
from oq.statistics import Statistics

RAW_PIXELS = 32.0
"""Normalized inputs stay within some ten standard deviations; pixels reach 255."""

DIVIDED_TWICE = 0.02
"""Pixels / 255 reach 1; divided again they reach 1/255."""

FEW = 32

EXPECTED = (KEPT.partition("{")[0], NOT_CHOSEN, "in int8 it is slower", "too thin for")
"""Words of the reasons for which a layer in float is no surprise (oq.speed, oq.tensorrt)."""


def data_warnings(
    inputs: Sequence[TensorInfo], statistics: Mapping[str, Statistics], samples: int
) -> tuple[str, ...]:
    """What is odd about the data, in sentences.  Only rank-4 float inputs are judged as images."""
    found = [w for i in inputs if (w := _about(i, statistics.get(i.name))) is not None]
    if samples < FEW:
        found.append(f"only {samples} samples were calibrated on; {FEW} or more are advised")
    return tuple(found)


def _about(info: TensorInfo, seen: Statistics | None) -> str | None:
    is_image = info.dtype in FLOAT_DTYPES and info.shape is not None and len(info.shape) == 4
    if seen is None or not is_image or seen.count == 0:
        return None
    span = f"input {info.name!r} holds values {seen.lo:.4g}..{seen.hi:.4g}"
    if seen.lo == seen.hi:
        return f"{span}: every calibration value is the same"
    if seen.lo >= 0 and seen.hi > RAW_PIXELS:
        return f"{span}, which looks like raw pixels: was the division by 255 (or 127.5) forgotten?"
    if seen.lo >= 0 and seen.hi < DIVIDED_TWICE:
        return f"{span}, which looks like pixels divided by 255 twice"
    return None


def run_warnings(plan: Plan, found: Verification | None) -> tuple[str, ...]:
    """What should be known of a run before its file is trusted, in sentences: layers in float that
    usually are not, and accuracy that nobody has looked at.

    What was asked for, and what the target could run but should not since it is slower, is no
    surprise and is not warned of.
    """
    said = []
    left = [s.node for s in plan.skips if _is_layer(s.op) and not _expected(s)]
    if left:
        names = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
        said.append(f"{len(left)} layers in float that are usually quantized: {names}")
    if found is None:
        said.append("not verified: try oq verify with samples that were not calibrated on")
    elif any(c.top1 is None for c in found.literal.classes):
        said.append(
            "accuracy was not measured, since the data have no labels; only how far the outputs "
            "moved was"
        )
    return tuple(said)


def _expected(skip: Skip) -> bool:
    return any(words in skip.reason for words in EXPECTED)


def _is_layer(op: str) -> bool:
    """Whether ``op`` always has a weight.  A MatMul may be a product of two activations."""
    row = facts(op)
    return row is not None and row.weight is not None and row.bias is not None
