"""The format ``openvino``: OpenVINO's IR, two files, written by OpenVINO itself.

OpenVINO reads Q/DQ of all styles, so a file of any target is taken.  Biases of 8 bits are given to
it as floats of the same values.  What it has written is read
back by oq's own reader, grid by grid and code by code, and run by the CPU plugin beside the Q/DQ
file in onnxruntime's literal mode.  The plugin rounds otherwise in places (it computes on codes);
what that changes must stay below what quantization itself changes: the outputs without the Q/DQ
pairs of the activations tell.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from oq.artifacts.artifact import Contents, GridUse
from oq.artifacts.onnx_file import model_contents
from oq.artifacts.openvino_xml import CONSTANT, File
from oq.comparison.deviation import Sums
from oq.deployment.formats import Format, Given, Made, Proof
from oq.engines.engine import Kernels, is_installed
from oq.engines.openvino import count_kernels, write_ir
from oq.engines.openvino_ir import OpenvinoFile, open_file
from oq.errors import MissingExtra, ModelError
from oq.model.graph import Graph
from oq.model.metadata import target_of
from oq.model.noise import freeze_noise, random_nodes
from oq.model.operands import bias_input
from oq.model.qdq import DQ, Q, constant, dequantized_by
from oq.model.session import Session, Settings
from oq.numerics.values import Array
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
NAMED = 5
"""Layers in float that are named."""


def write(given: Given, path: Path) -> Made:
    """Write the IR and prove it."""
    given = replace(given, model=with_float_biases(given.model))
    try:
        write_ir(given.model, path)
    except MissingExtra as error:
        raise MissingExtra("openvino", "--to openvino") from error
    except ModelError as error:
        raise ModelError(f"{error}{_remedy(given.model)}") from error
    opened = open_file(path)
    with _comparable(given.model, opened) as same:
        outputs = _outputs(given, same)
    kernels = count_kernels(given.model, path)
    return Made(
        (*_stored(given.model, opened.file), outputs),
        dict(_facts(kernels, opened.contents())),
        tuple(_notes(kernels)),
        'openvino.Core().compile_model("{output}", "CPU")',
    )


def check(options: Mapping[str, object]) -> None:
    """Insist on openvino.

    Raises:
        MissingExtra: it is not installed.
    """
    if not is_installed("openvino"):
        raise MissingExtra("openvino", "--to openvino")


def _facts(kernels: Kernels, contents: Contents) -> Iterator[tuple[str, str]]:
    total = kernels.integer + kernels.floating
    yield "int8", f"{kernels.integer} of {counted(total, 'heavy op')} in int8 on this processor"
    yield "OpenVINO", contents.facts.get("OpenVINO", "")


def _notes(kernels: Kernels) -> Iterator[str]:
    if kernels.left:
        more = len(kernels.left) - NAMED
        rest = f", and {more} more" if more > 0 else ""
        yield f"in float: {', '.join(kernels.left[:NAMED])}{rest}"


# -- what is stored -------------------------------------------------------------------------------


def _stored(model: onnx.ModelProto, file: File) -> tuple[Proof, ...]:
    mine, theirs = model_contents(model), file.contents()
    known = {_key(use) for use in (*theirs.activations, *theirs.weights)}
    uses = [u for u in (*mine.activations, *mine.weights) if u.scale and u.dtype in COMPARED]
    lost = [use.tensor for use in uses if known.isdisjoint(_keys(use))]
    what = f"scales and zero points of {counted(len(uses), 'tensor')}"
    grids = f"{len(lost)} differ, {lost[0]!r} first" if lost else "all equal"
    values = _constants(model, file)
    wrong = [name for name, equal in values.items() if not equal]
    said = f"{wrong[0]!r} differs" if wrong else "all equal"
    proofs = (
        Proof(what, grids, not lost),
        Proof(f"values of {counted(len(values), 'constant')}", said, not wrong),
    )
    return tuple(p for p, some in zip(proofs, (uses, values), strict=True) if some)


COMPARED = frozenset({"int4", "uint4", "int8", "uint8", "int32"})


def _keys(use: GridUse) -> tuple[tuple[object, ...], ...]:
    """What may stand for ``use`` there: its grid; without the zero point, which OpenVINO works out;
    that of codes which count from 0, as a FakeQuantize alone has."""
    point = use.zero_point
    least = int(np.iinfo(use.dtype).min) if use.dtype in LEVELS else 0
    counted_from_0 = None if point is None else (point[0] - least, point[1] - least)
    found = replace(use, dtype=LEVELS.get(use.dtype, use.dtype), zero_point=counted_from_0)
    return _key(use), _key(replace(use, zero_point=None)), _key(found)


LEVELS: Mapping[str, str] = {"int8": "256 levels", "uint8": "256 levels"}
"""Types of 8 bits -> what the reader calls codes that have no type."""


def _key(use: GridUse) -> tuple[object, ...]:
    ends = () if use.scale is None else (f"{use.scale[0]:.5g}", f"{use.scale[1]:.5g}")
    return use.dtype, *ends, use.zero_point


STORED = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.UINT8})
"""Types of constants that OpenVINO stores as they are."""


def _constants(model: onnx.ModelProto, file: File) -> Mapping[str, bool]:
    """Constant of 8 bits or float32 that both have by one name and of one size -> whether it is
    equal."""
    layers = [layer for network in file.networks for layer in network.layers.values()]
    held = {layer.name: layer for layer in layers if layer.kind in CONSTANT}
    found = {}
    for tensor in model.graph.initializer:
        if tensor.data_type in STORED:
            mine = numpy_helper.to_array(tensor).tobytes()
            layer = held.get(tensor.name)
            if layer is not None and len(file.bytes_of(layer)) == len(mine):
                found[tensor.name] = bytes(file.bytes_of(layer)) == mine
    return found


# -- what is computed -----------------------------------------------------------------------------


@contextmanager
def _comparable(model: onnx.ModelProto, opened: OpenvinoFile) -> Iterator[OpenvinoFile]:
    """``opened``; of a model that draws at random, the IR of one that draws what onnxruntime does
    here (:mod:`oq.model.noise`)."""
    if not random_nodes(model):
        yield opened
        return
    with tempfile.TemporaryDirectory(prefix="oq-") as folder:
        path = Path(folder) / "frozen.xml"
        write_ir(freeze_noise(model), path)
        yield open_file(path)


def _outputs(given: Given, opened: OpenvinoFile) -> Proof:
    literal, plain = Session(given.model, LITERAL), Session(without_pairs(given.model), LITERAL)
    names = literal.arrays
    gaps = {name: _Gap() for name in names}
    count = Counter("compare", given.samples.count, given.watch)
    for batch in given.samples.batches(BATCH):
        expected, rough = literal.run(batch.feeds, names), plain.run(batch.feeds, names)
        found = opened.run(batch.feeds, names)
        for name, one, other, without in zip(names, expected, found, rough, strict=True):
            gaps[name].add(one, other, without)
        count(batch.samples)
    worst = min(gaps, key=lambda n: gaps[n].margin, default=None)
    if worst is None:
        return Proof("outputs", "none is an array of numbers", True)
    what = f"outputs on {counted(count.done, 'sample')}, OpenVINO beside the Q/DQ nodes"
    passed = all(g.margin >= 0 for g in gaps.values())
    rest = "" if passed else _remedy(given.model)
    return Proof(what, f"{worst!r} {gaps[worst].text}{rest}", passed)


def _remedy(model: onnx.ModelProto) -> str:
    """What to do about ``model``, where it was made for something else."""
    if target_of(model) == FORMAT.target:
        return ""
    return f"; oq quantize FLOAT.onnx -t {FORMAT.target} makes a file for OpenVINO"


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


def with_float_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with each bias of 8-bit codes as floats, which are the same values.

    OpenVINO 2026.4 takes such a bias for an operand of its own where the layer gives one pixel, and
    computes something else."""
    graph = Graph(model)
    view, found = graph.view(), dict[str, Array]()
    for node in view.nodes:
        bias = bias_input(node)
        dq = None if bias is None else dequantized_by(view, bias)
        if bias is None or dq is None:
            continue
        codes, scale, zero = (constant(view, dq, slot) for slot in (0, 1, 2))
        if codes is None or codes.dtype.name not in LEVELS or scale is None:
            continue
        wide = codes.astype(np.float32)
        found[bias] = np.asarray((wide if zero is None else wide - zero) * scale, np.float32)
    if not found:
        return model
    for bias, values in found.items():
        graph.make_constant(bias, values)
    graph.cleanup()
    return graph.to_model()


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


FORMAT = Format(
    "openvino",
    "OpenVINO's IR (.xml and .bin), for Intel processors and GPUs; Q/DQ files of any target",
    ".xml",
    "openvino",
    write,
    beside=(".bin",),
    any_target=True,
    check=check,
)
