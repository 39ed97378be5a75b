"""Short remarks on a run: what calibrated it, what to try next."""

from pathlib import Path

from oq.comparison.compare import Verification
from oq.data.sampling import RANDOM as RANDOM_NAME
from oq.data.source import Fitted
from oq.exporting.load import Model
from oq.model.ops import facts
from oq.planning.plan import KEPT, NOT_CHOSEN
from oq.planning.spec import Plan, Skip


def remedy(
    model: Model, target: str | None, data: object, preprocess: str | Path | None = None
) -> str:
    """The command that finds the layers to blame."""
    target = "TARGET" if target is None else target
    given = str(model) if isinstance(model, str | Path) else "MODEL.onnx"
    samples = str(data) if isinstance(data, str | Path) else "DATA"
    fit = f" --preprocess {preprocess}" if isinstance(preprocess, str | Path) else ""
    return f"oq sensitivity {given} --target {target} --data {samples}{fit}"


def describe_data(source: Fitted | None, cache: object, ranges: object) -> str:
    """What calibrated a run, in a word."""
    given = (None if source is None else source.name, cache, ranges)
    return next((str(g) for g in given if g is not None), "none")


def random_data_warning(source: Fitted | None) -> tuple[str, ...]:
    """What must be said of random data."""
    if source is None or source.name != RANDOM_NAME:
        return ()
    return ("CALIBRATED ON RANDOM NUMBERS: the ranges mean nothing; do not ship this file",)


EXPECTED = (KEPT.partition("{")[0], NOT_CHOSEN, "slower in int8", "too thin for")
"""Words of the reasons for which a layer in float is no surprise (oq.planning.speed,
oq.planning.tensorrt)."""


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
        said.append("not verified: run oq verify on samples that were not used for calibration")
    elif any(c.top1 is None for c in found.literal.classes):
        said.append(
            "the data has no labels, so accuracy is unknown; the figures below compare outputs "
            "with the float model"
        )
    return tuple(said)


def _expected(skip: Skip) -> bool:
    return any(words in skip.reason for words in EXPECTED)


def _is_layer(op: str) -> bool:
    """Whether ``op`` always has a weight.  A MatMul may be a product of two activations."""
    row = facts(op)
    return row is not None and row.weight is not None and row.bias is not None
