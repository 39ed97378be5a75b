"""Every operator: onnxruntime's float result against the float32 program's, read back by oq."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from oq.artifacts.mlpackage.package import open_file
from oq.deployment.coreml.asked import Asked, Source
from oq.deployment.coreml.cubic import PLACES
from oq.deployment.coreml.format import write_program
from oq.deployment.coreml.library import load_library
from oq.deployment.coreml.rows import ROWS
from oq.errors import ModelError
from oq.model.graph import Graph
from oq.model.session import Session, Settings
from oq.numerics.values import Array

pytest.importorskip("coremltools")

LITERAL = Settings(reading="literal", spin=False)
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.normal(0, 1, (2, 4, 6, 8)).astype(np.float32)
ROWS_OF = RANDOM.normal(0, 1, (2, 5, 8)).astype(np.float32)
POSITIVE = np.abs(IMAGE) + 0.1


def draw(*shape: int) -> Array:
    return RANDOM.normal(0, 0.5, shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """One node: its inputs that are fed, its constants behind them, its attributes."""

    op: str
    fed: tuple[Array, ...] = (IMAGE,)
    constants: tuple[Any, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 18
    domain: str = ""

    def __str__(self) -> str:
        words = [self.op, *(f"{k}={v}" for k, v in self.attributes.items())]
        return "-".join(words + [f"opset{self.opset}"] * (self.opset != 18))


def case(op: str, *constants: Any, fed: Any = IMAGE, **more: Any) -> Case:
    given = fed if isinstance(fed, tuple) else (fed,)
    kept = {k: more.pop(k) for k in ("outputs", "opset", "domain") if k in more}
    return Case(op, given, constants, more, **kept)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


UNARY = ("Abs", "Ceil", "Cos", "Celu", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Neg", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
    "Tanh", "Identity", "Reciprocal", "Shape", "Size")  # fmt: skip
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum", "PRelu")
REDUCED = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
BOXES = np.sort(RANDOM.uniform(0, 4, (2, 12, 4)).astype(np.float32), -1)[..., [2, 0, 1, 3]]
SCORES = RANDOM.uniform(0, 1, (2, 3, 12)).astype(np.float32)
PARTS = (np.array(0.0, np.float32), np.array(6.0, np.float32))
EDGE = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

CASES = (
    *(case(op) for op in UNARY),
    *(case(op, fed=POSITIVE) for op in ("Sqrt", "Log")),
    *(case(op, draw(4, 1, 1)) for op in BINARY),
    case("Sum", fed=(IMAGE, IMAGE[:1], IMAGE[..., :1])),
    case("PRelu", draw(6, 8)),
    case("Pow", np.array(2.0, np.float32)),
    case("Pow", np.array(1.5, np.float32), fed=POSITIVE),
    case("Clip", *PARTS),
    case("Clip", np.array(-0.3, np.float32), np.array(0.4, np.float32)),
    case("Celu", alpha=0.4),
    case("Clip", np.array(0.0, np.float32)),
    case("Clip", np.array(-0.5, np.float32)),
    case("Gelu", opset=20),
    case("Gelu", opset=20, approximate="tanh"),
    case("QuickGelu", domain="com.microsoft", alpha=1.702),
    case("Cast", to=int(onnx.TensorProto.INT32)),
    case("Greater", np.float32(0)),
    case("LessOrEqual", np.float32(0)),
    case("Softmax", axis=1),
    case("LogSoftmax", axis=-1),
    case("CumSum", np.array(1)),
    case("TopK", ints(3), fed=ROWS_OF, axis=-1, outputs=2),
    case("ArgMax", axis=1, keepdims=0),
    case("ArgMin", axis=-1),
    *(case(f"Reduce{op}", axes=[2, 3], keepdims=0, opset=13) for op in REDUCED),
    case("ReduceMean", ints(-1)),
    case("ReduceSum", ints(1, 2), keepdims=0),
    case("Conv", draw(6, 4, 3, 3), draw(6), pads=[1, 0, 2, 1], strides=[2, 1]),
    case("Conv", draw(8, 1, 3, 3), group=4, dilations=[1, 2]),
    case("Conv", draw(8, 1, 3, 3), group=4, strides=[2, 2], auto_pad="SAME_UPPER"),
    case("Conv", draw(3, 5, 2), fed=ROWS_OF, auto_pad="VALID"),
    case("ConvTranspose", draw(4, 3, 3, 3), draw(3), strides=[2, 2], pads=[1, 1, 1, 1]),
    case("ConvTranspose", draw(4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1],
         output_padding=[1, 1]),
    case("ConvTranspose", draw(4, 2, 2, 2), strides=[2, 2], group=2, output_shape=[12, 16]),
    case("Gemm", draw(8, 3), draw(3), fed=ROWS_OF[0], alpha=0.5, beta=2.0),
    case("Gemm", draw(3, 8), draw(1, 3), fed=ROWS_OF[0], transB=1),
    case("Gemm", draw(5, 3), fed=ROWS_OF[0], transA=1),
    case("Gemm", fed=(ROWS_OF[0], ROWS_OF[1], draw(5, 5)), transB=1, alpha=0.5, beta=0.5),
    case("MatMul", draw(8, 3), fed=ROWS_OF),
    case("MatMul", draw(2, 8, 3), fed=ROWS_OF),
    case("MatMul", draw(8), fed=ROWS_OF),
    case("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("AveragePool", kernel_shape=[2, 2], count_include_pad=1, pads=[1, 1, 0, 0]),
    case("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("GlobalAveragePool"),
    case("GlobalMaxPool"),
    case("BatchNormalization", draw(4), draw(4), draw(4), np.abs(draw(4)) + 0.5),
    case("BatchNormalization", draw(8), draw(8), draw(8), np.abs(draw(8)) + 0.5, fed=ROWS_OF[0]),
    case("InstanceNormalization", draw(4), draw(4)),
    case("LayerNormalization", draw(8), draw(8), fed=ROWS_OF),
    case("LayerNormalization", draw(6, 8), axis=-2),
    case("RMSNormalization", draw(8), fed=ROWS_OF, opset=23),
    *(case("LSTM", draw(sides, 12, 8), draw(sides, 12, 3), draw(sides, 24), fed=ROWS_OF,
           hidden_size=3, direction=direction, outputs=3)
      for sides, direction in ((1, "forward"), (2, "bidirectional"), (1, "reverse"))),
    *(case("GRU", draw(n, 9, 8), draw(n, 9, 3), draw(n, 18), fed=ROWS_OF, hidden_size=3,
           direction=direction, outputs=2, linear_before_reset=after)
      for n, direction, after in ((1, "forward", 0), (2, "bidirectional", 1), (1, "reverse", 1))),
    case("GRU", draw(1, 9, 8), draw(1, 9, 3), draw(1, 18), "", draw(1, 5, 3), fed=ROWS_OF,
         hidden_size=3),
    case("RNN", draw(2, 3, 8), draw(2, 3, 3), fed=ROWS_OF, hidden_size=3, outputs=2,
         direction="bidirectional", activations=["Relu", "Tanh"]),
    case("RNN", draw(1, 3, 8), draw(1, 3, 3), draw(1, 6), "", draw(1, 5, 3), fed=ROWS_OF,
         hidden_size=3),
    case("LRN", size=3, alpha=0.1, beta=0.6, bias=1.5),
    case("LpNormalization", axis=1, p=2),
    case("Reshape", ints(0, -1)),
    case("Reshape", ints(2, 2, 2, -1)),
    case("Flatten", axis=2),
    case("Transpose", perm=[0, 2, 3, 1]),
    case("Unsqueeze", ints(0, -1), fed=ROWS_OF),
    case("Squeeze", ints(1), fed=IMAGE[:, :1]),
    case("Concat", fed=(IMAGE, IMAGE[:, :1]), axis=1),
    case("Expand", ints(3, 1, 6, 8), fed=IMAGE[:1, :1]),
    case("Expand", ints(6, 8), fed=IMAGE),
    case("Tile", ints(1, 2, 1, 3)),
    case("DepthToSpace", blocksize=2),
    case("DepthToSpace", blocksize=2, mode="CRD"),
    case("SpaceToDepth", blocksize=2),
    case("Slice", ints(1, -3), ints(4, 1000), ints(1, 3)),
    case("Slice", ints(-1), ints(-1000), ints(2), ints(-2)),
    case("Slice", ints(3), fed=(IMAGE, ints(1), ints(-2))),
    case("Slice", ints(3, 1), ints(2, 1), fed=(IMAGE, ints(-100, 1), ints(100, 3))),
    case("Slice", ints(-1), fed=(IMAGE, ints(5), ints(2**31 - 1))),
    case("Split", ints(1, 3), axis=1, outputs=2),
    case("Split", axis=3, num_outputs=3, outputs=3),
    case("Gather", ints(2, -1), axis=1),
    case("Gather", np.array(1), axis=2),
    case("GatherElements", RANDOM.integers(0, 4, (2, 4, 6, 8)), axis=1),
    case("GatherND", ints(0, 1).reshape(1, 2)),
    case("ScatterElements", RANDOM.permuted(np.tile(np.arange(8), (5, 1)), axis=1)[None, :, :3],
         draw(1, 5, 3), fed=ROWS_OF[:1], axis=-1),
    case("ScatterElements", RANDOM.integers(-5, 5, (2, 9, 8)), draw(2, 9, 8), fed=ROWS_OF, axis=1,
         reduction="add"),
    case("NonZero", fed=np.maximum(IMAGE, 0)),
    case("Mod", ints(3), fed=RANDOM.integers(-9, 9, (2, 5))),
    case("Mish"),
    *(case("NonMaxSuppression", ints(most), np.float32(0.4), np.float32(0.2), fed=fed)
      for most, fed in ((4, (BOXES, SCORES)), (100, (BOXES[:1], SCORES[:1, :1])))),
    case("NonMaxSuppression", ints(5), fed=(np.abs(BOXES), SCORES), center_point_box=1),
    case("ScatterND", ints(0, 1).reshape(1, 2), draw(1, 6, 8)),
    case("Pad", ints(0, 0, 1, 2, 0, 0, 3, 0), np.array(0.5, np.float32)),
    case("Pad", ints(0, 0, 1, 2, 0, 0, 3, 1), mode="reflect"),
    case("Pad", ints(1, 2), np.array(0, np.float32), ints(3)),
    case("Pad", ints(0, 0, 1, 2, 0, 0, 3, 0), mode="edge"),
    case("Where", fed=(IMAGE > 0, IMAGE, -IMAGE)),
    case("Resize", "", np.array([1, 1, 2, 2], np.float32), mode="nearest", **EDGE),
    case("Resize", "", np.array([1, 1, 3, 2], np.float32), mode="nearest"),
    case("Resize", "", "", ints(2, 4, 9, 5), mode="nearest"),
    case("Resize", "", "", ints(2, 4, 9, 5), mode="linear"),
    case("Resize", "", "", ints(2, 4, 9, 5), mode="cubic"),
    *(case("Resize", "", np.array([1, 1, 2.5, 1], np.float32), mode="cubic", cubic_coeff_a=-0.5,
           coordinate_transformation_mode=mode, exclude_outside=at % 2)
      for at, mode in enumerate(PLACES)),
    *(case("GridSample", fed=(IMAGE, 2 * draw(2, 5, 3, 2)), padding_mode=outside, opset=16,
           align_corners=corners, mode=mode)
      for outside in ("zeros", "border") for corners in (0, 1) for mode in ("bilinear", "nearest")),
    case("Resize", "", np.array([1, 1, 2, 2], np.float32), mode="linear",
         coordinate_transformation_mode="align_corners"),
    case("Resize", "", np.array([1, 1, 0.5, 2], np.float32), mode="linear",
         coordinate_transformation_mode="asymmetric"),
)  # fmt: skip


@dataclass
class Together:
    """Many cases as one model, so that it is converted once: tensors by the number of the case."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    feeds: dict[str, Array] = field(default_factory=dict)

    def add(self, at: int, given: Case, *, free: bool) -> None:
        names = []
        for i, values in enumerate(given.fed):
            names.append(f"x{at}_{i}")
            self.feeds[names[-1]] = np.concatenate([values, values]) if free else values
            shape = ["n" if free and a == 0 else s for a, s in enumerate(values.shape)]
            kind = helper.np_dtype_to_tensor_dtype(values.dtype)
            self.inputs.append(helper.make_tensor_value_info(names[-1], kind, shape))
        for i, values in enumerate(given.constants):
            names.append("" if isinstance(values, str) else f"c{at}_{i}")
            if names[-1]:
                self.constants.append(numpy_helper.from_array(np.asarray(values), names[-1]))
        outputs = [f"out{at}_{i}" for i in range(given.outputs)]
        self.nodes.append(helper.make_node(given.op, names, outputs, f"node{at}",
                                           domain=given.domain, **given.attributes))  # fmt: skip

    def model(self, opset: int) -> onnx.ModelProto:
        outputs = [onnx.ValueInfoProto(name=o) for n in self.nodes for o in n.output]
        graph = helper.make_graph(self.nodes, "net", self.inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        found = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        for info, output in zip(Session(found, LITERAL).outputs, found.graph.output, strict=True):
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype))
            output.CopyFrom(helper.make_tensor_value_info(info.name, kind, None))
        return found


def join(cases: Iterable[Case], *, free: bool = False) -> tuple[onnx.ModelProto, dict[str, Array]]:
    whole, given = Together(), list(cases)
    for at, one in enumerate(given):
        whole.add(at, one, free=free)
    return whole.model(given[0].opset), whole.feeds


def package(model: onnx.ModelProto, folder: Path, ios: int = 18) -> Path:
    path = folder / "m.mlpackage"
    source = Source(model, Graph(model).view(), {})
    write_program(load_library(), source, Asked(ios, False, None, None, ()), "m", path)
    return path


def compare(cases: Sequence[Case], folder: Path, *, free: bool = False) -> None:
    model, feeds = join(cases, free=free)
    exact = Session(model, LITERAL).run(feeds)
    values = open_file(package(model, folder)).run(feeds)
    for output, one, other in zip(model.graph.output, exact, values, strict=True):
        where = str(cases[int(output.name.removeprefix("out").split("_")[0])])
        assert one.shape == other.shape or one.ndim == 0, where
        np.testing.assert_allclose(
            other.reshape(one.shape), one, rtol=2e-5, atol=2e-6, err_msg=where
        )


@pytest.mark.parametrize("opset", sorted({c.opset for c in CASES}))
def test_programs_compute_what_onnxruntime_does(opset: int, tmp_path: Path) -> None:
    compare([c for c in CASES if c.opset == opset], tmp_path)


FREE = ("Reshape", "Flatten", "Slice", "Softmax", "Conv", "GlobalAveragePool", "MatMul", "Shape",
    "Concat", "LayerNormalization", "Resize", "Gemm")  # fmt: skip


def test_a_free_batch_stays_free(tmp_path: Path) -> None:
    found = [next(c for c in CASES if c.op == op and "transA" not in c.attributes) for op in FREE]
    compare(found, tmp_path, free=True)


FREE_SHAPES = """
graph (float[n, 3, 8, 6] x) => (float[n, 12, 4, 3] packed, float[n, 3, 5, 9] wide)
<int64[6] parts = {-1, 3, 4, 2, 3, 2}, int64[4] whole = {-1, 12, 4, 3}, int64[2] sides = {5, 9}>
{
    cut = Reshape (x, parts)
    turned = Transpose <perm = [0, 1, 3, 5, 2, 4]> (cut)
    packed = Reshape (turned, whole)
    front = Shape <start = 0, end = 2> (x)
    sizes = Concat <axis = 0> (front, sides)
    wide = Resize <mode = "linear"> (x, , , sizes)
}
"""
"""PyTorch's pixel_unshuffle, through 6 axes, and its interpolate to a size, of a free batch."""


def test_a_free_batch_through_six_axes_and_computed_sizes(tmp_path: Path) -> None:
    head = '<ir_version: 9, opset_import: ["" : 18]>'
    model = onnx.parser.parse_model(head + FREE_SHAPES)
    for node in model.graph.node:
        node.name = node.output[0]
    feeds = {"x": draw(2, 3, 8, 6)}
    found = open_file(package(model, tmp_path)).run(feeds)
    for one, other in zip(Session(model, LITERAL).run(feeds), found, strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-5, atol=2e-6)


def test_a_tensor_of_six_axes_is_named(tmp_path: Path) -> None:
    model, _ = join([case("Reshape", ints(2, 2, 2, 6, 4, 2))])
    with pytest.raises(ModelError, match="tensor 'out0_0' has 6 axes; programs take at most 5"):
        package(model, tmp_path)


REFUSED = (
    case("MaxPool", kernel_shape=[2, 2], dilations=[2, 1]),
    case("Pad", ints(0, 0, -1, 0, 0, 0, 0, 0)),
    case("Resize", "", np.array([1, 1, 2, 2], np.float32), mode="cubic", antialias=1),
    case("Slice", ints(3), ints(-1), fed=(IMAGE, ints(4), ints(0))),
    case("Mod", np.float32(3), fmod=1),
    case("ScatterElements", ints(0).reshape(1, 1, 1, 1), draw(1, 1, 1, 1)),
    case("ConvTranspose", draw(4, 3, 3, 3), strides=[2, 2], output_padding=[1, 1]),
    case("NonMaxSuppression", fed=(BOXES, SCORES)),  # gives no box
    case("GridSample", fed=(IMAGE, draw(2, 3, 3, 2)), padding_mode="reflection"),
    case("GRU", draw(1, 9, 8), draw(1, 9, 3), fed=ROWS_OF, hidden_size=3, clip=1.0),
    case("RNN", draw(1, 3, 8), draw(1, 3, 3), fed=ROWS_OF, hidden_size=3, activations=["Elu"]),
    case("ArgMax", axis=1, select_last_index=1),
)


@pytest.mark.parametrize("given", REFUSED, ids=str)
def test_what_has_no_form_is_named_before_anything_is_written(given: Case, tmp_path: Path) -> None:
    model, _ = join([given])
    with pytest.raises(ModelError, match=f"cannot express node 'node0' \\({given.op}\\)"):
        package(model, tmp_path)
    assert not any(tmp_path.iterdir())


def test_rows_are_in_order() -> None:
    assert list(ROWS) == sorted(ROWS)
