"""Optional inputs, outputs and attributes that are left out, in every pass and every target.

ONNX says "" for an optional argument in the middle, and a file may say so at the end too.  Each
graph here computes the same behind every pass, and is quantized.
"""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oq
from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.planning import registry
from oq.prepare.order import BY_REQUEST, PASSES, prepare
from tests.small import normal, random_feeds, reference

TARGETS = ("trt", "coreml", "dpu", "ort")
APPROXIMATE = {"harden_sigmoid", "round_edge_slope", "round_slopes"}


def integers(*values: int) -> Array:
    return np.asarray(values, np.int64)


CONSTANTS: dict[str, Array] = {
    "w": normal(4, 3, 3, 3, seed=1) / 4,
    "b": normal(4, seed=2),
    "two": normal(6, 2, 3, 3, seed=3) / 4,
    "back": normal(3, 4, 3, 3, seed=4) / 4,
    "seven": normal(4, 7, 3, 3, seed=5) / 6,
    "image": normal(2, 7, 3, 3, seed=6),
    "g": 1 + normal(4, seed=7) / 4,
    "v": np.abs(normal(4, seed=8)) + 0.5,
    "g3": 1 + normal(3, seed=9) / 4,
    "v3": np.abs(normal(3, seed=10)) + 0.5,
    "m": normal(6, 6, seed=11) / 2,
    "g6": 1 + normal(6, seed=12) / 4,
    "k": normal(1, 4, 1, 1, seed=13),
    "slope": np.abs(normal(4, 1, 1, seed=14)),
    "low": np.asarray(-0.2, np.float32),
    "high": np.asarray(0.4, np.float32),
    "ratio": np.asarray(0.5, np.float32),
    "zero": np.zeros((), np.float32),
    "no": np.asarray(False),
    "twice": np.asarray([1, 1, 2, 2], np.float32),
    "size": integers(2, 3, 12, 12),
    "pads": integers(0, 0, 1, 1, 0, 0, 1, 1),
    "wide": integers(0, 2, 0, 0, 0, 1, 0, 0),
    "ones": integers(1, 1, 1, 1),
    "a0": integers(0),
    "a2": integers(2),
    "a23": integers(2, 3),
    "end": integers(2**31 - 1),
    "lw": normal(1, 16, 6, seed=15) / 2,
    "lr": normal(1, 16, 4, seed=16) / 2,
    "state": normal(1, 2, 4, seed=17),
    "gw": normal(1, 12, 6, seed=18) / 2,
    "gr": normal(1, 12, 4, seed=19) / 2,
    "three": integers(3).reshape(()),
    "yes": np.asarray(True),
    "m3": normal(3, 3, seed=20),
}
IMAGE, FOUR, ROWS, STEPS, SMALL = "2,3,8,8", "2,4,6,6", "4,6", "3,2,6", "2,3"
C = "a = Conv (x, w)\n "

CASES: list[tuple[str, str]] = [
    (IMAGE, 'y = Conv (x, w, "")'),
    (IMAGE, "y = Conv <kernel_shape = [3,3]> (x, w, b)"),
    (IMAGE, 'a = Conv (x, w, "")\n y = BatchNormalization (a, g, b, b, v)'),
    (IMAGE, 'a = ConvTranspose (x, back, "")\n y = BatchNormalization (a, g, b, b, v)'),
    (ROWS, 'a = Gemm (x, m, "")\n y = BatchNormalization (a, g6, g6, g6, g6)'),
    (IMAGE, "a = Relu (x)\n c = BatchNormalization (a, g3, g3, g3, v3)\n y = Conv (c, w)"),
    (IMAGE, 'a = Conv (x, w, b)\n y = Clip (a, "", high)'),
    (IMAGE, 'a = Conv (x, w, b)\n y = Clip (a, low, "")'),
    (IMAGE, "a = Conv (x, w, b)\n y = Clip (a)"),
    (IMAGE, 'a = Conv (x, w, b)\n y = Clip (a, "", "")'),
    (IMAGE, C + 'e = ReduceMax <keepdims = 0> (a)\n y = Clip (a, "", e)'),
    (FOUR, 'y = Conv <group = 2> (x, two, "")'),
    (FOUR, 'a = Conv <group = 2> (x, two)\n y = Clip (a, "", high)'),
    (FOUR, 'a = Conv <group = 2> (x, two, "")\n y = Clip (a, low, "")'),
    (FOUR, "a = Conv <group = 2> (x, two)\n y = LeakyRelu (a)"),
    (IMAGE, 'y = Resize <mode = "nearest"> (x, "", twice)'),
    (IMAGE, 'y = Resize <mode = "linear"> (x, "", "", size)'),
    (IMAGE, C + 'y = Resize <mode = "nearest"> (a, "", twice, "")'),
    (IMAGE, 'a = Pad (x, pads, "")\n y = Conv (a, w, "")'),
    (IMAGE, "a = Pad (x, pads)\n y = Conv (a, w)"),
    (IMAGE, 'a = Pad (x, ones, "", a23)\n y = Conv (a, w)'),
    (IMAGE, "a = Pad (x, ones, zero, a23)\n y = Conv (a, w)"),
    (IMAGE, 'a = Pad (x, pads)\n y = Conv <auto_pad = "VALID"> (a, w)'),
    (IMAGE, C + 'c = Pad (a, wide, "")\n y = Conv (c, seven)'),
    (IMAGE, C + 's = Slice (a, a0, end, a2, two2)\n t = Slice (s, a0, end, a3, two2)\n'
     ' c = Pad (t, wide, "")\n y = Add (c, image)'),
    (IMAGE, 'a = Dropout (x, "", "")\n y = Conv (a, w)'),
    (IMAGE, 'a = Dropout (x, "", no)\n y = Conv (a, w)'),
    (IMAGE, 'a, "" = Dropout (x, ratio)\n y = Conv (a, w)'),
    (IMAGE, C + "y, mask = Dropout (a)\n z = Not (mask)"),
    (IMAGE, 'a, "" = MaxPool <kernel_shape = [2,2]> (x)\n y = Conv (a, w)'),
    (IMAGE, C + "y = AveragePool <kernel_shape = [2,2]> (a)"),
    (ROWS, 'y = Gemm (x, m, "")'),
    (ROWS, "a = MatMul (x, m)\n y = LayerNormalization (a, g6)"),
    (ROWS, 'a = MatMul (x, m)\n y = LayerNormalization (a, g6, "")'),
    (ROWS, 'a, "", i = LayerNormalization (x, g6, g6)\n y = MatMul (a, m)\n z = Relu (i)'),
    (ROWS, 'a, "", "" = LayerNormalization (x, g6)\n y = MatMul (a, m)'),
    (IMAGE, C + "y = ReduceMean (a)"),
    (IMAGE, C + 'y = ReduceMean (a, "")'),
    (IMAGE, C + "y = ReduceMean <keepdims = 0> (a, a23)"),
    (IMAGE, C + "y = ReduceMean <noop_with_empty_axes = 1> (a)"),
    (IMAGE, C + 'y = ReduceSum <noop_with_empty_axes = 1> (a, "")'),
    (IMAGE, C + 'y = ReduceMax (a, "")'),
    (IMAGE, C + 'c = Slice (a, a0, end, "", a2)\n y = Relu (c)'),
    (IMAGE, C + 'c = Slice (a, a0, end, a2, "")\n y = Relu (c)'),
    (IMAGE, C + 'c = Slice (a, a0, end, "", "")\n y = Relu (c)'),
    (IMAGE, C + "c = Slice (a, a0, end)\n y = Relu (c)"),
    (IMAGE, C + "y = Squeeze (a)"),
    (IMAGE, C + "y, z = Split <axis = 1, num_outputs = 2> (a)"),
    (IMAGE, C + 'y, z = Split <axis = 1, num_outputs = 2> (a, "")'),
    (IMAGE, C + "y = Softmax (a)"),
    (IMAGE, C + "y = Flatten (a)"),
    (IMAGE, C + "y = HardSigmoid (a)"),
    (IMAGE, C + "y = Transpose (a)"),
    (IMAGE, C + "y = Sum (a)"),
    (IMAGE, C + "y = Sum (a, a)"),
    (IMAGE, C + "y = PRelu (a, slope)"),
    (IMAGE, C + "c = Mul (k, a)\n d = Add (c, k)\n y = Relu (d)"),
    (IMAGE, "y = Conv (x, w)\n z = Identity (x)"),
    (SMALL, "y = MatMul (x, m3)\n z = Add (m3, m3)"),
    (STEPS, 'y, h, z = LSTM <hidden_size = 4> (x, lw, lr, "", "", state)'),
    (STEPS, 'y, "", z = LSTM <hidden_size = 4> (x, lw, lr)'),
    (STEPS, '"", h = GRU <hidden_size = 4> (x, gw, gr, "", "")\n y = Relu (h)'),
    (SMALL, """a = MatMul (x, m3)
     y = Loop (three, "", a) <body = inside (int64 i, bool c, float[2,3] s)
     => (bool d, float[2,3] t) { t = Relu (s)\n d = Identity (c) }>"""),
]  # fmt: skip
CONSTANTS |= {"two2": integers(2), "a3": integers(3), "image": normal(2, 7, 3, 3, seed=6)}


def model(shape: str, body: str) -> onnx.ModelProto:
    text = f"""<ir_version: 8, opset_import: ["" : 18]>
        net (float[{shape}] x) => (float y{", float z" if "z =" in body else ""}) {{ {body} }}"""
    made = onnx.parser.parse_model(text)
    used = {t for n in made.graph.node for t in n.input}
    for name in sorted(used & CONSTANTS.keys()):
        made.graph.initializer.append(numpy_helper.from_array(CONSTANTS[name], name))
    for output in made.graph.output:
        output.ClearField("type")
    return onnx.shape_inference.infer_shapes(made)


def same(before: onnx.ModelProto, after: onnx.ModelProto, what: str) -> None:
    feeds = random_feeds(before)
    expected, found = reference(before, feeds), reference(after, feeds)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=what)


@pytest.mark.parametrize(("shape", "body"), CASES)
def test_every_pass_keeps_what_the_graph_computes(shape: str, body: str) -> None:
    before = model(shape, body)
    steps = {step.__name__: step for step in PASSES} | dict(BY_REQUEST)
    for name, step in steps.items():
        graph = Graph(before)
        for early in PASSES[:3]:  # what is constant, and types
            early(graph)
        if name not in APPROXIMATE and step(graph).changed:
            same(before, graph.to_model(), name)
    for target in TARGETS:
        passes = tuple(p for p in registry.target(target).passes if p not in APPROXIMATE)
        same(before, prepare(before, 13, passes).graph.to_model(), target)


@pytest.mark.parametrize(("index", "case"), list(enumerate(CASES)))
def test_the_model_is_quantized(index: int, case: tuple[str, str]) -> None:
    given = model(*case)
    target = TARGETS[index % len(TARGETS)]
    data = [random_feeds(given, seed=seed) for seed in range(6)]
    found = oq.quantize(given, target, data, mode="naive").report.verification
    assert found is not None
    assert all(o.sqnr_db > 12 for r in (found.literal, found.deployed) for o in r.outputs)
