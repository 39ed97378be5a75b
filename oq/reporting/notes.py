"""Notes and warnings about a run, and the command to try after a collapse."""

from collections.abc import Sequence
from pathlib import Path

from oq.comparison.compare import Verification
from oq.data.sampling import RANDOM as RANDOM_NAME
from oq.data.source import Fitted
from oq.exporting.load import Model
from oq.model.ops import facts
from oq.planning.blocks import AT_RUN_TIME, ONLY_WEIGHTS
from oq.planning.plan import KEPT, NOT_CHOSEN
from oq.planning.spec import Plan, Skip


def remedy(
    model: Model, target: str | None, data: object, preprocess: str | Path | None = None
) -> str:
    """The ``oq sensitivity`` command that finds the layers that cost accuracy."""
    target = "TARGET" if target is None else target
    given = str(model) if isinstance(model, str | Path) else "MODEL.onnx"
    samples = str(data) if isinstance(data, str | Path) else "DATA"
    fit = f" --preprocess {preprocess}" if isinstance(preprocess, str | Path) else ""
    return f"oq sensitivity {given} --target {target} --data {samples}{fit}"


def describe_data(source: Fitted | None, cache: object, ranges: object) -> str:
    """The source of the ranges: data, cache or range file."""
    given = (None if source is None else source.name, cache, ranges)
    return next((str(g) for g in given if g is not None), "none")


def random_data_warning(source: Fitted | None) -> tuple[str, ...]:
    """The warning about random calibration data."""
    if source is None or source.name != RANDOM_NAME:
        return ()
    return ("CALIBRATED ON RANDOM NUMBERS: the ranges mean nothing; do not ship this file",)


EXPECTED = (
    KEPT.partition("{")[0],
    NOT_CHOSEN,
    "slower in int8",
    "too thin for",
    ONLY_WEIGHTS.partition("{")[0],
    AT_RUN_TIME.partition("}")[2],
)
"""Parts of reasons for which a float layer is expected (oq.planning.speed,
oq.planning.tensorrt)."""


NOTHING = "nothing is quantized: the file is the float model, prepared for the target"


def run_warnings(
    plan: Plan, found: Verification | None, inside: Sequence[str] = ()
) -> tuple[str, ...]:
    """Warnings about a run: float layers that are usually quantized, and unmeasured accuracy.

    ``inside``: layers that were quantized in subgraphs, of which the plan knows nothing.  Layers
    that the user keeps in float, or that would be slower in int8, are not reported.
    """
    said = [] if plan.sites or inside else [NOTHING]
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
