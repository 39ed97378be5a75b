"""The stages in order: load, prepare, plan, calibrate, solve, emit, legal, verify, report.

These functions are the Python API and what the command line calls.  No decisions are made here.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

import oq
from oq import registry
from oq.calibrate import collect, tensors_to_calibrate
from oq.compare import Verification, compare
from oq.data import Fitted, fingerprint, fixed_batch, open_source, split, subset
from oq.emit import emit
from oq.errors import DataError, ModelError
from oq.files import load_model, model_bytes, save_model
from oq.graph import Graph
from oq.legal import Finding
from oq.legal import check as find_violations
from oq.plan import plan as decide
from oq.prepare.order import prepare
from oq.report import Report
from oq.session import Settings
from oq.solve import solve
from oq.spec import Plan, Shape, TensorInfo
from oq.target import Target

Model = str | Path | onnx.ModelProto
Watch = Callable[[str, int, int | None], None]
"""Called with a stage, the samples done and the samples in all (None when not known)."""

HELD_BACK = 8
"""Every eighth calibration sample is kept out of calibration, to verify on."""

VERIFY_SAMPLES = 64
BATCH = 8


@dataclass(frozen=True, slots=True)
class Result:
    """A quantized model and its story."""

    model: onnx.ModelProto
    report: Report

    def save(self, path: str | Path) -> None:
        """Write the model to ``path`` (beside it first, then renamed)."""
        save_model(self.model, path)


def quantize(
    model: Model,
    target: str,
    data: object,
    *,
    calibrator: str = "minmax",
    settings: Mapping[str, Any] | None = None,
    samples: int | None = None,
    batch_size: int = BATCH,
    preprocess: str | Path | None = None,
    keep_float: Sequence[str] = (),
    provider: str = "cpu",
    verify: bool = True,
    seed: int = 0,
    watch: Watch | None = None,
) -> Result:
    """Quantize ``model`` for ``target``, calibrated on ``data`` (:func:`oq.data.open_source`).

    ``settings`` are the calibrator's own; ``samples`` draws that many by ``seed``; ``keep_float``
    are globs over node names.  With ``verify`` every eighth sample (64 at most) is held back from
    calibration and both models are compared on them.

    Raises:
        OqError: the model, the data or an option cannot be used; the message says why.
    """
    clock = _Clock()
    profile = registry.target(target)
    method = registry.calibrator(calibrator, dict(settings or {}))
    with clock.stage("load"):
        loaded = load_model(model) if isinstance(model, str | Path) else model
        source = open_source(data, inputs_of(loaded), preprocess=preprocess)
        used, held = _divide(source, samples, seed, verify)
    with clock.stage("prepare"):
        graph = prepare(loaded, profile.min_opset).graph
        float_model, view = graph.to_model(), graph.view()
    with clock.stage("plan"):
        decided = decide(view, profile, keep_float)
    counter = _Counter("calibrate", used.count, watch)
    with clock.stage("calibrate"):
        run = Settings(provider=provider)
        tensors = tensors_to_calibrate(decided, view)
        statistics = collect(float_model, tensors, used.batches(batch_size), run, counter)
    with clock.stage("emit"):
        solution = solve(decided, view, statistics, method)
        emit(graph, decided, solution)
        quantized = graph.to_model()
        findings = find_violations(graph.view(), profile)
        _insist(findings)
    found = None
    if held is not None:
        with clock.stage("verify"):
            watcher = _Counter("verify", held.count, watch)
            found = compare(loaded, quantized, held.batches(batch_size), progress=watcher)
    provenance = {
        "oq.version": oq.__version__,
        "oq.target": profile.name,
        "oq.calibrator": repr(method),
        "oq.data": fingerprint(used),
        "oq.samples": str(counter.done),
    }
    if found is not None:
        sqnr = ", ".join(f"{e.name} {e.sqnr_db:.1f} dB" for e in found.literal.outputs)
        provenance["oq.error"] = sqnr
    _stamp(quantized, provenance)
    report = Report(
        version=oq.__version__,
        model=str(model) if isinstance(model, str | Path) else loaded.graph.name,
        output=None,
        target=profile.name,
        summary=profile.summary,
        calibrator=calibrator,
        data=source.name,
        samples=counter.done,
        bytes_before=model_bytes(loaded),
        bytes_after=model_bytes(quantized),
        plan=decided,
        notes=solution.notes,
        findings=findings,
        verification=found,
        seconds=clock.seconds,
    )
    return Result(quantized, report)


def verify(
    float_model: Model,
    quantized: Model,
    data: object,
    *,
    samples: int | None = None,
    batch_size: int = BATCH,
    preprocess: str | Path | None = None,
    labels: Path | None = None,
    provider: str = "cpu",
    latency: bool = True,
    seed: int = 0,
    watch: Watch | None = None,
) -> Verification:
    """Compare two models on ``data``: errors, accuracy, integer kernels, latency.

    Raises:
        OqError: a model or the data cannot be used, or the models' inputs or outputs differ.
    """
    exact, rounded = _load(float_model), _load(quantized)
    _same_interface(exact, rounded)
    source = open_source(data, inputs_of(exact), preprocess=preprocess, labels=labels)
    if samples is not None:
        source = subset(source, samples, seed)
    return compare(
        exact,
        rounded,
        source.batches(batch_size),
        settings=Settings(provider=provider),
        latency=latency,
        progress=_Counter("verify", source.count, watch),
    )


def make_plan(model: Model, target: str, *, keep_float: Sequence[str] = ()) -> Plan:
    """What ``target`` would quantize in ``model``, and why not the rest; needs no data."""
    profile = registry.target(target)
    return decide(prepare(_load(model), profile.min_opset).graph.view(), profile, keep_float)


def check(model: Model, target: str) -> tuple[Finding, ...]:
    """How a quantized ``model``, whoever made it, offends against ``target``'s rules."""
    return find_violations(Graph(_load(model)).view(), registry.target(target))


def inputs_of(model: onnx.ModelProto) -> tuple[TensorInfo, ...]:
    """The inputs a caller must feed: those without a default value."""
    given = {t.name for t in model.graph.initializer}
    return tuple(_input(v) for v in model.graph.input if v.name not in given)


def next_step(target: Target, output: Path) -> str:
    """What to do with the file on the target."""
    return target.next_step.format(output=output, stem=output.stem)


def finish(result: Result, output: Path) -> Result:
    """Save, and complete the report with where the file lies and what comes next."""
    result.save(output)
    step = next_step(registry.target(result.report.target), output)
    return replace(result, report=replace(result.report, output=str(output), next_step=step))


@dataclass(slots=True)
class _Clock:
    """Wall seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


@dataclass(slots=True)
class _Counter:
    """Samples done in a stage; passes them on to whoever watches."""

    stage: str
    total: int | None
    watch: Watch | None
    done: int = 0

    def __call__(self, done: int) -> None:
        self.done = done
        if self.watch is not None:
            self.watch(self.stage, done, self.total)


def _divide(
    source: Fitted, samples: int | None, seed: int, verify: bool
) -> tuple[Fitted, Fitted | None]:
    """The samples to calibrate on, and those to verify on (None: no verification)."""
    if samples is not None:
        source = subset(source, samples, seed)
    if not verify:
        return source, None
    try:
        rest, held = split(source, HELD_BACK)
    except DataError:  # one sample, one batch or one feed: none can be spared
        return source, source
    return rest, subset(held, VERIFY_SAMPLES, seed)


def _load(model: Model) -> onnx.ModelProto:
    return load_model(model) if isinstance(model, str | Path) else model


def _insist(findings: tuple[Finding, ...]) -> None:
    """A file that oq wrote must pass its own checks; if not, that is our bug, not the user's."""
    errors = [f for f in findings if f.severity == "error"]
    if errors:
        first = errors[0]
        raise RuntimeError(
            f"oq wrote an illegal graph ({len(errors)} errors): [{first.check}] {first.node}: "
            f"{first.message}"
        )


def _same_interface(first: onnx.ModelProto, second: onnx.ModelProto) -> None:
    for kind in ("input", "output"):
        sides = [
            {v.name for v in getattr(m.graph, kind)} - {t.name for t in m.graph.initializer}
            for m in (first, second)
        ]
        if sides[0] != sides[1]:
            raise ModelError(
                f"the two models have different {kind}s, {sorted(sides[0])} and "
                f"{sorted(sides[1])}; give the float model and a quantized version of it"
            )


def _stamp(model: onnx.ModelProto, entries: Mapping[str, str]) -> None:
    kept = [p for p in model.metadata_props if not p.key.startswith("oq.")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    for name, value in entries.items():
        model.metadata_props.add(key=name, value=value)


def _input(value: onnx.ValueInfoProto) -> TensorInfo:
    kind = value.type.tensor_type
    if not kind.elem_type:
        found = value.type.WhichOneof("value") or "nothing"
        raise ModelError(f"input {value.name!r} is a {found.removesuffix('_type')}, not a tensor")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    shape: Shape | None = None
    if kind.HasField("shape"):
        shape = tuple(
            d.dim_value if d.HasField("dim_value") else (d.dim_param or None)
            for d in kind.shape.dim
        )
    return TensorInfo(value.name, dtype, shape)


__all__ = [
    "Result",
    "check",
    "finish",
    "fixed_batch",
    "inputs_of",
    "make_plan",
    "next_step",
    "quantize",
    "verify",
]
