"""Does a package compute what the Q/DQ file does: tensor by tensor, by oq's own reader.

Each quantizer of the package is fed what the Q/DQ file gives: its result is compared with
onnxruntime's codes (every node as the ONNX specification says), and then replaced by them, so that
no difference is carried on.  From end to end no tight bound is possible: one value on the edge of
two codes changes all behind it, and onnxruntime with and without optimizations differs as much.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from oq.artifacts.mlpackage.package import open_file
from oq.comparison.deviation import sqnr_db
from oq.deployment.coreml.asked import Asked, Source
from oq.deployment.coreml.image import ImageInput
from oq.deployment.coreml.prove_stored import Stored, compare_compressed, compare_stored
from oq.deployment.formats import Proof
from oq.model.proto_fields import put_constants
from oq.model.qdq import Q
from oq.model.session import Session, Settings, expose
from oq.model.view import GraphView
from oq.numerics.values import Array, Batch

LITERAL = Settings(reading="literal", spin=False)


@dataclass(frozen=True, slots=True)
class Gate:
    """What may differ: at most ``steps`` of the grid, in at most ``share`` of the values (or in
    :data:`FEW`)."""

    steps: int
    share: float


TIGHT = Gate(1, 1e-3)
"""Of the float32 program: the arithmetic of onnxruntime, summed in another order."""

LOOSE = Gate(2, 0.03)
"""Of the float16 program, computed in float32: its scales and biases are rounded to 11 bits."""

ROUGH = Gate(8, 0.1)
"""Of the float16 program with every tensor rounded to float16: where large terms cancel, as in the
depthwise layers of MobileNet v1, 3.6 % differ by up to 4 steps.  What overflows is far beyond."""

FEW = 3
"""Values that may differ however few there are in all."""


@dataclass(slots=True)
class Differences:
    """Codes compared: ``count`` of ``tensors``, those that differ, by at most ``steps`` and most in
    ``worst``."""

    count: int = 0
    differing: int = 0
    steps: int = 0
    worst: str = ""
    tensors: set[str] = field(default_factory=set)

    def add(self, tensor: str, exact: Array, found: Array) -> None:
        """Compare one tensor's codes."""
        apart = np.abs(exact.astype(np.int32) - found.astype(np.int32))
        most = int(apart.max(initial=0))
        if most > self.steps:
            self.steps, self.worst = most, tensor
        self.count += apart.size
        self.differing += int(np.count_nonzero(apart))
        self.tensors.add(tensor)

    def passes(self, gate: Gate) -> bool:
        """Whether they are within ``gate``."""
        few = self.differing <= max(FEW, gate.share * self.count)
        return few and self.steps <= gate.steps

    def __str__(self) -> str:
        share = 100 * self.differing / max(self.count, 1)
        where = f", in {self.worst!r}" if self.worst else ""
        return (
            f"{self.count:,} codes of {len(self.tensors)} tensors, {share:.3g} % differ, by at most"
            f" {self.steps}{where}"
        )


def prove_codes(
    path: Path,
    model: onnx.ModelProto,
    view: GraphView,
    names: Mapping[str, str],
    batches: Sequence[Batch],
    image: ImageInput | None = None,
    *,
    rounded: bool = False,
) -> Differences:
    """The codes of every quantizer of the package at ``path`` against those of ``model``.

    ``names``: ONNX tensor -> the program's; ``rounded``: tensors are float16 where the program
    declares them so.
    """
    package = open_file(path)
    wanted = [
        n.outputs[0]
        for n in view.nodes
        if n.op == Q and not view.is_constant(n.inputs[0]) and n.outputs[0] in names
    ]
    found = Differences()
    if not wanted:
        return found
    session = Session(expose(model, wanted), LITERAL)
    for feeds, given in feed_pairs(batches, image):
        exact = dict(zip(wanted, session.run(feeds, wanted), strict=True))
        forced = {names[t]: values for t, values in exact.items()}
        values = package.run(given, list(forced), forced, exact=not rounded)
        for tensor, value in zip(exact, values, strict=True):
            found.add(tensor, exact[tensor], value)
    return found


def feed_pairs(
    batches: Sequence[Batch], image: ImageInput | None
) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array]]]:
    """Feeds of the model and of the package; of an image, the closest pixels and their values."""
    for batch in batches:
        if image is None:
            yield batch.feeds, batch.feeds
            continue
        ((name, values),) = batch.feeds.items()
        scale, bias = image.numbers()
        planes = values if image.given.layout == "nchw" else values.transpose(0, 3, 1, 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = np.nan_to_num(np.rint((planes - bias) / scale)).clip(0, 255)
        pixels = pixels.astype(np.float32)
        exact = pixels * scale + bias
        exact = exact if image.given.layout == "nchw" else exact.transpose(0, 2, 3, 1)
        yield {name: exact.astype(values.dtype)}, {name: pixels}


def output_sqnr(
    path: Path, model: onnx.ModelProto, batches: Sequence[Batch], image: ImageInput | None = None
) -> float:
    """From end to end: the lowest SQNR, in dB, of a float output of the package at ``path`` against
    ``model``'s; infinite where all are equal."""
    package, session = open_file(path), Session(model, LITERAL)
    sums: dict[str, Array] = {}
    names = [o.name for o in package.outputs]
    for feeds, given in feed_pairs(batches, image):
        exact = session.run(feeds, names)
        for name, one, other in zip(names, exact, package.run(given, names), strict=True):
            if one.dtype.kind == "f":
                signal, noise = one.astype(np.float64), one.astype(np.float64) - other
                here = np.array([np.square(signal).sum(), np.square(noise).sum()])
                sums[name] = sums.get(name, np.zeros(2)) + here
    return min((sqnr_db(*map(float, s)) for s in sums.values()), default=float("inf"))


def prove(
    path: Path,
    source: Source,
    names: Mapping[str, str],
    batches: Sequence[Batch],
    asked: Asked,
) -> Iterator[Proof]:
    """The proofs of the package at ``path``; ``names``: ONNX tensor -> the program's."""
    what = "float16 program" if asked.half else "float32 program"
    package, half = open_file(path), asked.half
    if asked.kind is not None:
        yield _stored(what, compare_compressed(
            source.compressed, names, package.weights(), half=half))  # fmt: skip
        model = onnx.ModelProto()
        model.CopyFrom(source.model)
        put_constants(model, {t: c.values() for t, c in source.compressed.items()})
        sqnr = output_sqnr(path, model, batches, asked.image)
        least = SAME_HALF if half else SAME
        yield Proof(f"outputs of the {what}", f"SQNR {sqnr:.1f} dB", sqnr >= least)
        return
    grids, weights = package.quantizers(), package.weights()
    yield _stored(what, compare_stored(source.view, names, grids, weights, half=half))
    found = prove_codes(path, source.model, source.view, names, batches, asked.image)
    yield Proof(f"{what}, layer by layer", str(found), found.passes(LOOSE if half else TIGHT))
    if half:
        found = prove_codes(
            *(path, source.model, source.view, names, batches, asked.image), rounded=True
        )
        yield Proof("the same, each tensor in float16", str(found), found.passes(ROUGH))


SAME, SAME_HALF = 70.0, 25.0
"""Least SQNR in dB of outputs against the same weights in onnxruntime's float32: of a float32
program, and of a float16 one."""


def _stored(what: str, found: Stored) -> Proof:
    numbers = f"{found.weights} weights, {found.codes:,} codes"
    text = f"{found.quantizers} Q and DQ, {numbers}: all equal"
    return Proof(f"{what}, as stored", found.wrong[0] if found.wrong else text, not found.wrong)
