"""The file of integer operators beside the Q/DQ file, both as onnxruntime deploys them.

What both store must be equal.  Every tensor of codes that a QuantizeLinear of the Q/DQ file writes
and the new file still has is compared on the samples, code by code.  Where a difference has grown
through layers, each operator is asked again with the codes of the Q/DQ file as its inputs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from oq.deployment.formats import Proof
from oq.deployment.qoperator.operands import BYTES
from oq.model.cut import cut
from oq.model.graph import Graph
from oq.model.qdq import Q, codes_dtype
from oq.model.session import Session, Settings, expose
from oq.model.unsigned import shifted
from oq.model.view import GraphView
from oq.numerics.values import Array, Batch
from oq.wording import counted

DEPLOYED = Settings(spin=False)


@dataclass(slots=True)
class Tally:
    """What a comparison has seen: the number of codes, of those that differ, the largest difference
    in steps and its tensor."""

    codes: int = 0
    different: int = 0
    most: int = 0
    where: str = ""

    def add(self, tensor: str, one: Array, other: Array) -> None:
        """Count ``tensor`` as both files compute it."""
        off = np.abs(in_type(one, other.dtype.name).astype(np.int32) - other.astype(np.int32))
        self.codes += off.size
        self.different += int(np.count_nonzero(off))
        if off.size and off.max() > self.most:
            self.most, self.where = int(off.max()), tensor


def prove(
    given: onnx.ModelProto, made: onnx.ModelProto, batches: Callable[[], Iterable[Batch]]
) -> tuple[Proof, ...]:
    """The proofs that ``made`` computes what the Q/DQ model ``given`` does on the samples, which
    are read once more where the difference has grown."""
    tensors = shared_codes(Graph(given).view(), Graph(made).view())
    outputs = [o.name for o in given.graph.output]
    wanted = list(dict.fromkeys((*tensors, *outputs)))
    one, other = (Session(expose(m, wanted), DEPLOYED) for m in (given, made))
    tally, real = Tally(), Deviation()
    for batch in batches():
        found, again = (s.run(batch.feeds, wanted) for s in (one, other))
        for name, left, right in zip(wanted, found, again, strict=True):
            if name in outputs:
                real.add(left, right)
            if name in tensors:
                tally.add(name, left, right)
    what = "codes of " + counted(len(tensors), "tensor")
    if tally.most > 1:
        what = f"{what}, each from those of the Q/DQ file"
        tally = _forced(one, wanted, made, tensors, batches)
    return _of_constants(given, made), _of_codes(what, tally), Proof("outputs", real.text, True)


def _of_constants(given: onnx.ModelProto, made: onnx.ModelProto) -> Proof:
    """The codes, scales and zero points of the Q/DQ file that the new one has by the same names:
    a single weight that differs need not move a result by more than a step."""
    known = {t.name: t for t in given.graph.initializer}
    held = [t for t in made.graph.initializer if t.name in known]
    wrong = [t.name for t in held if not _same_values(t, known[t.name])]
    fresh = len(made.graph.initializer) - len(held)
    what = f"{counted(len(held), 'constant')} of the Q/DQ file"
    if wrong:
        return Proof(what, f"{wrong[0]!r} differs", False)
    return Proof(what, f"all equal; {fresh} new" if fresh else "all equal", True)


def _same_values(one: onnx.TensorProto, other: onnx.TensorProto) -> bool:
    if one.data_type != other.data_type:
        return False
    return np.array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))


def shared_codes(given: GraphView, made: GraphView) -> tuple[str, ...]:
    """The tensors of 8-bit codes that are computed in both graphs, in the order of the first."""
    computed = {t for n in made.nodes for t in n.outputs}
    found = ((n.outputs[0], codes_dtype(given, n)) for n in given.nodes if n.op == Q)
    return tuple(t for t, dtype in found if t in computed and dtype in BYTES)


def in_type(codes: Array, dtype: str) -> Array:
    """``codes`` as the other file has them: int8 or, of the same values, uint8."""
    return codes if codes.dtype == dtype else shifted(codes)


def _of_codes(what: str, tally: Tally) -> Proof:
    if not tally.different:
        return Proof(what, "all equal", True)
    share = 100 * tally.different / tally.codes
    worst = f"at most {counted(tally.most, 'step')}, in {tally.where!r}"
    return Proof(what, f"{share:.2g} % of the codes differ, by {worst}", tally.most <= 1)


def _forced(
    one: Session,
    wanted: list[str],
    made: onnx.ModelProto,
    tensors: tuple[str, ...],
    batches: Callable[[], Iterable[Batch]],
) -> Tally:
    """Each operator of ``made`` on the codes that the Q/DQ file, in session ``one``, computes."""
    with_outputs = Session(expose(made, tensors), DEPLOYED)
    types = {v.name: v.dtype or "uint8" for v in with_outputs.outputs}
    fresh = {t: f"{t}:given" for t in tensors}
    part = cut(made, {fresh[t]: types[t] for t in tensors}, lambda t, _: fresh.get(t, t), tensors)
    session, tally = Session(part, DEPLOYED), Tally()
    read = {i.name for i in session.inputs}
    for batch in batches():
        values = dict(zip(wanted, one.run(batch.feeds, wanted), strict=True))
        known = {**batch.feeds, **{fresh[t]: in_type(values[t], types[t]) for t in tensors}}
        given = {name: known[name] for name in known if name in read}
        for tensor, found in zip(tensors, session.run(given, tensors), strict=True):
            tally.add(tensor, values[tensor], found)
    return tally


@dataclass(slots=True)
class Deviation:
    """How far float outputs are apart, as a share of the largest value."""

    most: float = 0.0

    def add(self, one: Array, other: Array) -> None:
        """Count an output as both files compute it."""
        if one.dtype.kind != "f" or not one.size:
            return
        wide = one.astype(np.float64)
        peak = float(np.abs(wide).max()) or 1.0
        self.most = max(self.most, float(np.abs(wide - other).max()) / peak)

    @property
    def text(self) -> str:
        """The figure in words."""
        return f"differ by {self.most:.2g} of their largest value" if self.most else "all equal"
