"""Notes and warnings about a run, and the command to try after a collapse."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import onnx

from oq.comparison.compare import Verification
from oq.data.sampling import RANDOM as RANDOM_NAME
from oq.data.source import Fitted
from oq.engines.engine import PACKAGES, is_installed
from oq.errors import install_line
from oq.exporting.load import Model
from oq.model.free_outputs import freed_outputs
from oq.model.ops import STANDARD, has_bias, has_weight
from oq.model.proto_fields import feedable, gives_numbers
from oq.model.view import GraphView
from oq.planning.blocks import AT_RUN_TIME, ONLY_WEIGHTS
from oq.planning.plan import KEPT, NOT_CHOSEN
from oq.planning.spec import Plan, Skip
from oq.planning.target import Target
from oq.refine.defaults import AgainstDefaults
from oq.wording import counted, db


def remedy(
    model: Model,
    target: str | None,
    data: object,
    preprocess: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
) -> str:
    """The ``oq sensitivity`` command that finds the layers that cost accuracy."""
    target = "TARGET" if target is None else target
    given = str(model) if isinstance(model, str | Path) else "MODEL.onnx"
    samples = str(data) if isinstance(data, str | Path) else "DATA"
    fit = f" --preprocess {preprocess}" if isinstance(preprocess, str | Path) else ""
    names = "".join(f" --rename {wanted}={array}" for wanted, array in (rename or {}).items())
    return f"oq sensitivity {given} --target {target} --data {samples}{names}{fit}"


def describe_data(source: Fitted | None, cache: object, ranges: object) -> str:
    """The source of the ranges: data, cache or range file."""
    given = (None if source is None else source.name, cache, ranges)
    return next((str(g) for g in given if g is not None), "none")


def random_data_warning(source: Fitted | None) -> tuple[str, ...]:
    """The warning about random calibration data."""
    if source is None or source.name != RANDOM_NAME:
        return ()
    return ("CALIBRATED ON RANDOM NUMBERS: the ranges mean nothing; do not ship this file",)


FASTER = 50.0
"""Percent of kernels in integers, below which little can be gained."""

WITHOUT_RANGES: Mapping[str, str] = {
    "dynamic": "ranges at run time (--set dynamic=on)",
    "weights": "weights alone (--set weights=int8)",
}
"""Option of a target -> what it offers instead of calibrated activations."""


def speed_advice(found: Verification | None, options: Collection[str]) -> tuple[str, ...]:
    """What to try where int8 is no faster in the engine that runs the files of a target, of whose
    ``options`` these are at their defaults."""
    time = None if found is None else found.latency
    if found is None or time is None or found.mode != "deployed":
        return ()
    if time.low <= 1 and not (time.noisy and found.kernels.share < FASTER):
        return ()
    ways = [WITHOUT_RANGES[key] for key in sorted(options) if key in WITHOUT_RANGES]
    tried = f"{', '.join(ways)} or another target" if ways else "another target"
    return (
        f"int8 is no faster here ({time.ratio:.2f} of the float model's time, "
        f"{found.kernels.share:.0f} % of kernels in integers): keep the float model, or try "
        f"{tried}",
    )


def engine_note(target: Target) -> tuple[str, ...]:
    """What is missing to verify the files of ``target`` as it runs them."""
    engine = target.verified_in
    if is_installed(engine):
        return ()
    return (
        f"{engine} is not installed ({install_line(PACKAGES[engine])}): the file is compared as "
        "its Q/DQ nodes say, not as its engine runs it",
    )


def source_note(source: Fitted | None) -> tuple[str, ...]:
    """What the user should know of how the data was read."""
    return () if source is None else source.notes


def foreign_warning(view: GraphView, target: Target) -> tuple[str, ...]:
    """The warning about operators that neither ONNX nor the runtime of ``target`` defines."""
    known = {*STANDARD, *target.domains}
    found = [n for n in view.nodes if n.domain not in known]
    if not found:
        return ()
    ops = Counter(f"{n.op.removeprefix(f'{n.domain}.')} of {n.domain}" for n in found)
    named = ", ".join(f"{count} x {op}" for op, count in sorted(ops.items()))
    return (
        f"{counted(len(found), 'node')} foreign to target {target.name} ({named}): it loads the "
        "file only with a plugin that has them",
    )


def lost_inputs(model: onnx.ModelProto, written: onnx.ModelProto) -> tuple[str, ...]:
    """The notes about inputs with default values that are constants in the file, and about axes of
    outputs that have lost their name."""
    return (*_constant_inputs(model, written), *_freed_axes(model, written))


def _freed_axes(model: onnx.ModelProto, written: onnx.ModelProto) -> tuple[str, ...]:
    freed = freed_outputs(model, written)
    axes = ", ".join(repr(name) for name in dict.fromkeys(freed.values()))
    if not freed:
        return ()
    names = ", ".join([*freed][:3]) + (", ..." if len(freed) > 3 else "")
    return (
        f"the model names axes of outputs {axes} that are of several lengths in one run; the file "
        f"leaves them free: {names}",
    )


def _constant_inputs(model: onnx.ModelProto, written: onnx.ModelProto) -> tuple[str, ...]:
    left = {value.name for value in written.graph.input}
    lost = [i.name for i in feedable(model) if i.optional and i.name not in left]
    if not lost:
        return ()
    names = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
    are = "is a constant" if len(lost) == 1 else "are constants"
    what = counted(len(lost), "input")
    return (f"{what} with a default value that no sample feeds {are} in the file: {names}",)


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

    ``inside``: layers in bodies that were quantized without sites.  Layers that
    the user keeps in float, or that would be slower in int8, are not reported.
    """
    said = [] if plan.sites or inside else [NOTHING]
    left = [s.node for s in plan.skips if _is_layer(s.op) and not _expected(s)]
    if left:
        names = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
        layers = counted(len(left), "layer")
        said.append(f"{layers} in float, of a kind that is usually quantized: {names}")
    if found is None:
        said.append("not verified: run oq verify on samples that were not used for calibration")
    elif any(c.top1 is None for c in found.literal.classes):
        said.append(
            "the data has no labels, so accuracy is unknown; the figures below compare outputs "
            "with the float model"
        )
    return tuple(said)


def numberless_note(model: onnx.ModelProto) -> tuple[str, ...]:
    """The note about a model with no output that can be compared."""
    if gives_numbers(model):
        return ()
    return ("no output is an array of numbers, so the two models cannot be compared",)


def default_notes(
    named: Sequence[str], found: AgainstDefaults | None, target: str
) -> tuple[str, ...]:
    """The note about options that are clearly worse than the defaults, with both figures."""
    if found is None or not found.is_worse:
        return ()
    return (
        f"{' '.join(named)}: output SQNR {db(found.asked_db)} dB on held-back samples, against "
        f"{db(found.default_db)} dB with the defaults of {target}",
    )


def unrefined_note(steps: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The note about a run without the refinement that its target has by default."""
    if steps or not default:
        return ()
    return (f"not refined (--refine none): {', '.join(default)} may reduce the error",)


def _expected(skip: Skip) -> bool:
    return any(words in skip.reason for words in EXPECTED)


def _is_layer(op: str) -> bool:
    """Whether ``op`` always has a weight.  A MatMul may be a product of two activations."""
    return has_weight(op) and has_bias(op)
