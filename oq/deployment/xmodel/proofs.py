"""What is proven of a written xmodel: its structure, its parameters, and what it computes."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from oq.artifacts.xmodel.reader import XmodelFile
from oq.artifacts.xmodel.values import Exact, floats
from oq.data.source import Fitted
from oq.deployment.formats import Proof
from oq.deployment.xmodel.placed import Placed
from oq.deployment.xmodel.rows import INTEGER
from oq.deployment.xmodel.translation import Translation
from oq.dpu.simulate import Simulator
from oq.model.proto_fields import inputs_of
from oq.model.session import expose
from oq.numerics.values import Array
from oq.progress import Counter, Watch
from oq.wording import counted

FLOAT_ERROR = 1e-5
"""Of the largest value of a tensor: float32 functions of two libraries differ by far less."""


def prove(
    model: onnx.ModelProto,
    t: Translation,
    opened: XmodelFile,
    samples: Fitted,
    watch: Watch | None = None,
) -> tuple[Proof, ...]:
    """Compare ``opened`` with ``model``, of batch 1, from which ``t`` wrote it."""
    structure = structure_of(opened)
    if not structure.passed:
        return (structure,)
    return structure, parameters_of(model, t, opened), *_outputs(model, t, opened, samples, watch)


def structure_of(opened: XmodelFile) -> Proof:
    """Whether ``opened`` obeys the rules of XIR's loader, and its shapes are as inferred."""
    count = len(opened.graph.ops)
    what = "structure"
    if opened.problems:
        return Proof(what, f"breaks a rule of AMD's loader: {opened.problems[0]}", False)
    return Proof(what, f"{count} ops obey the loader's rules, their shapes are as inferred", True)


def parameters_of(model: onnx.ModelProto, t: Translation, opened: XmodelFile) -> Proof:
    """Codes and positions of all constants on a grid, in the order in which the file has them."""
    held = {v.name: v for v in model.graph.initializer}
    found, codes = opened.parameters(), 0
    fixed = [w for w in t.written if w.parameter.position is not None]
    for written in fixed:
        parameter, value = written.parameter, found.get(written.op)
        if value is None or value.position != parameter.position:
            text = f"{parameter.tensor!r} is not on its grid of 2^-{parameter.position}"
            return Proof("parameters", text, False)
        raw = onnx.numpy_helper.to_array(held[parameter.tensor])
        if raw.dtype.kind in "iu":
            zero = 128 if raw.dtype == np.uint8 else 0
            wanted = raw.astype(np.int64).ravel()[parameter.index] - zero
        else:
            wanted = np.ldexp(parameter.values, parameter.position)
        same = np.ldexp(value.real, value.position) == wanted.reshape(value.real.shape)
        if not same.all():
            many = int(np.count_nonzero(~same))
            return Proof("parameters", f"{many} codes of {parameter.tensor!r} differ", False)
        codes += same.size
    return Proof("parameters", f"{codes:,} codes of {len(fixed)} tensors equal", True)


@dataclass(slots=True)
class _Seen:
    """Counts over all samples."""

    samples: int = 0
    codes: int = 0
    exact: set[str] = field(default_factory=set)
    floats: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    error: float = 0.0
    worst: str = ""


def _outputs(
    model: onnx.ModelProto, t: Translation, opened: XmodelFile, samples: Fitted, watch: Watch | None
) -> tuple[Proof, ...]:
    """Every ``fix`` against the simulator of the DPU, code for code; what the CPU computes in float
    within :data:`FLOAT_ERROR`, and read from the simulator by what follows."""
    places = dict(_compared(t))
    names = list(places)
    simulator = Simulator(expose(model, names))
    seen, count = _Seen(), Counter("compare", samples.count, watch)
    one_by_one = replace(samples, inputs=inputs_of(model))  # whatever batches the data comes in
    for batch in one_by_one.batches(1):
        by_dpu = dict(zip(names, simulator.run(batch.feeds, names), strict=True))
        there = {places[n].op: _lie(places[n], v) for n, v in by_dpu.items()}
        given = {p.op.name: batch.feeds[p.name].transpose(p.layout) for p in opened.inputs_}
        found = opened.evaluate(given, list(there), instead=there)
        for op, value in found.items():
            _compare(seen, op, value, there[op])
        seen.samples += batch.samples
        count(seen.samples)
    return tuple(_said(seen))


def _compare(seen: _Seen, op: str, value: object, wanted: Array) -> None:
    if isinstance(value, Exact):
        differ = int(np.count_nonzero(value.floats() != wanted))
        seen.codes += wanted.size
        seen.exact.add(op)
        if differ:
            seen.wrong[op] = seen.wrong.get(op, 0) + differ
        return
    found = floats(value)  # type: ignore[arg-type]
    top = float(np.abs(wanted).max(initial=1e-30))
    error = float(np.abs(found.astype(np.float64) - wanted).max(initial=0.0)) / top
    seen.floats += wanted.size
    if not error <= seen.error:
        seen.error, seen.worst = error, op


def _said(seen: _Seen) -> Iterator[Proof]:
    over = f"on {counted(seen.samples, 'sample')}"
    if seen.wrong:
        op, many = next(iter(seen.wrong.items()))
        text = f"{many:,} of {seen.codes:,} codes differ {over}, first at op {op!r}"
        yield Proof("values", text, False)
    else:
        what = f"{seen.codes:,} codes of {len(seen.exact)} tensors"
        text = f"{what} equal those of the DPU simulation {over}"
        yield Proof("values", text, True)
    if seen.floats:
        passed = seen.error <= FLOAT_ERROR
        near = f"within {seen.error:.1g} of the largest" if seen.error else "equal"
        text = f"{seen.floats:,} values computed in float are {near}"
        yield Proof("CPU ops", text if passed else f"{text} (op {seen.worst!r})", passed)


def _compared(t: Translation) -> Iterator[tuple[str, Placed]]:
    """The tensors that are compared, one per op: what a pair rounds, float results, outputs."""
    done: set[str] = set()
    for node in t.view.nodes:
        for tensor in node.outputs:
            place = t.placed.get(tensor)
            if place is None or node.op in INTEGER or place.op in done:
                continue
            rounded = place.position is not None
            if rounded or not place.exact or tensor in t.view.outputs:
                done.add(place.op)
                yield tensor, place


def _lie(place: Placed, values: Array) -> Array:
    """``values`` of an ONNX tensor as the op holds them."""
    lying = values.transpose(place.layout)
    return lying if place.columns is None else values[..., place.columns]
