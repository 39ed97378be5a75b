"""What OpenVINO computes beside the Q/DQ nodes as ONNX defines them.

The plugin rounds otherwise in places (it computes on codes); what that changes must stay below what
quantization itself changes: the outputs without the Q/DQ pairs of the activations tell.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

import numpy as np
import onnx

from oq.comparison.deviation import Sums
from oq.deployment.formats import Given, Proof
from oq.engines.openvino import write_ir
from oq.engines.openvino_ir import OpenvinoFile, open_file
from oq.model.noise import freeze_noise, random_nodes
from oq.model.ops import NORMALIZED, only_moves
from oq.model.qdq import DQ, Q
from oq.model.session import Session, Settings, expose
from oq.numerics.values import Array, Batch
from oq.progress import Counter
from oq.wording import counted, db

BATCH = 8
MARGIN_DB = 3.0
"""Decibels by which the rounding may exceed the error of the activations' Q/DQ pairs: the same
limit as ``oq verify`` has for two modes of one file."""

CLOSE_DB = 20.0
"""Decibels that are enough whatever the pairs change, and needed of a file that has none."""

FAR_DB = 10.0
"""Decibels that are needed whatever the pairs change: random samples saturate in many of them."""

AGREEMENT = 0.5
"""The least share of equal values of an output of integers (ArgMax), where near ties fall."""

LITERAL = Settings(reading="literal")

COARSE = 0.01
"""The step of float32 at the values that a Softmax reads from which its result says nothing: a step
changes a probability by that share of it, and each sum is rounded many times."""


def prove_outputs(given: Given, opened: OpenvinoFile) -> Proof:
    """The proof that ``opened`` computes what the Q/DQ model of ``given`` does on its samples.

    A Softmax of values so large that float32 holds them in coarse steps is compared in front of it:
    no two orders of a sum agree behind it."""
    with _comparable(given.model, opened) as same:
        proof = _compare(given, same)
    read = [] if proof.passed else before_softmax(given.model)
    if not read:
        return proof
    front = replace(given, model=expose(given.model, read))
    first = next(iter(given.samples.batches(1)))
    inputs = [t for t in read if t not in {o.name for o in given.model.graph.output}]
    values = Session(front.model, LITERAL).run(first.feeds, inputs)
    peak = max((float(np.abs(v).max(initial=0)) for v in values), default=0.0)
    if np.spacing(np.float32(peak)) < COARSE:
        return proof
    with _written(front.model) as same:
        found = _compare(front, same)
    return replace(found, what=f"{found.what}, before Softmax, which reads values of {peak:.2g}")


def before_softmax(model: onnx.ModelProto) -> list[str]:
    """The outputs of ``model`` with what is read in place of what is given by a Softmax, behind
    which values are only moved; none where there is no Softmax."""
    makers = {t: n for n in model.graph.node for t in n.output}
    found = []
    for name in (o.name for o in model.graph.output):
        maker = makers.get(name)
        while maker is not None and only_moves(maker.op_type):
            maker = makers.get(maker.input[0])
        ends = maker is not None and maker.op_type in NORMALIZED and maker.input[0] in makers
        found.append(maker.input[0] if maker is not None and ends else name)
    return list(dict.fromkeys(found)) if found != [o.name for o in model.graph.output] else []


@contextmanager
def _comparable(model: onnx.ModelProto, opened: OpenvinoFile) -> Iterator[OpenvinoFile]:
    """``opened``; of a model that draws at random, the IR of one that draws what onnxruntime does
    here (:mod:`oq.model.noise`)."""
    if not random_nodes(model):
        yield opened
        return
    with _written(model) as frozen:
        yield frozen


@contextmanager
def _written(model: onnx.ModelProto) -> Iterator[OpenvinoFile]:
    """An IR of ``model`` by itself, its random nodes frozen."""
    with tempfile.TemporaryDirectory(prefix="oq-") as folder:
        path = Path(folder) / "m.xml"
        write_ir(freeze_noise(model), path)
        yield open_file(path)


def _compare(given: Given, opened: OpenvinoFile) -> Proof:
    literal, plain = Session(given.model, LITERAL), Session(without_pairs(given.model), LITERAL)
    names = literal.arrays
    gaps = {name: _Gap() for name in names}
    count = Counter("compare", given.samples.count, given.watch)
    for batch, fresh in _batches(given):
        expected, rough = literal.run(batch.feeds, names), plain.run(batch.feeds, names)
        found = opened.run(batch.feeds, names)
        for name, one, other, without in zip(names, expected, found, rough, strict=True):
            gaps[name].add(one, other, without)
        count(count.done + fresh)
    worst = min(gaps, key=lambda n: gaps[n].margin, default=None)
    if worst is None:
        return Proof("outputs", "none is an array of numbers", True)
    what = f"outputs on {counted(count.done, 'sample')}, OpenVINO beside the Q/DQ nodes"
    passed = all(g.margin >= 0 for g in gaps.values())
    return Proof(what, f"{worst!r} {gaps[worst].text}", passed)


def _batches(given: Given) -> Iterator[tuple[Batch, int]]:
    """The samples with how many of them are new: the first once more by itself, since OpenVINO may
    compute one otherwise than several."""
    for i, batch in enumerate(given.samples.batches(BATCH)):
        yield batch, batch.samples
        if i == 0 and batch.samples > 1:
            yield next(iter(given.samples.batches(1))), 0


@dataclass(slots=True)
class _Gap:
    """One output: ``rounding`` between OpenVINO and the Q/DQ nodes, ``pairs`` between these and the
    same file without the pairs of its activations."""

    rounding: Sums = field(default_factory=Sums)
    pairs: Sums = field(default_factory=Sums)
    equal: int = 0
    discrete: bool = False

    def add(self, expected: Array, found: Array, without: Array) -> None:
        self.discrete |= expected.dtype.kind in "iub"
        if expected.shape == found.shape:
            self.equal += int(np.count_nonzero(expected == found))
        self.rounding.add(expected, found)
        self.pairs.add(expected, without)

    @property
    def _decibels(self) -> tuple[float, float]:
        return self.rounding.result("").sqnr_db, self.pairs.result("").sqnr_db

    @property
    def margin(self) -> float:
        """Above 0: as close as it must be."""
        if self.discrete:
            return self.equal / max(self.rounding.count, 1) - AGREEMENT
        rounding, pairs = self._decibels
        return rounding - max(FAR_DB, min(CLOSE_DB, pairs - MARGIN_DB))

    @property
    def text(self) -> str:
        if self.discrete:
            return f"equal in {100 * self.equal / max(self.rounding.count, 1):.1f} % of its values"
        rounding, pairs = (db(d) + " dB" * isfinite(d) for d in self._decibels)
        own = "" if pairs == "equal" else f" (quantizing activations: {pairs})"
        return f"SQNR {rounding}{own}"


def without_pairs(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` whose Q/DQ pairs of computed tensors are Identity."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    fixed = {t.name for t in plain.graph.initializer}
    rounded = {n.output[0]: n.input[0] for n in plain.graph.node if n.op_type == Q}
    for node in plain.graph.node:
        source = rounded.get(node.input[0]) if node.op_type == DQ else None
        if source is not None and source not in fixed:
            node.CopyFrom(onnx.helper.make_node("Identity", [source], node.output, node.name))
    return plain
