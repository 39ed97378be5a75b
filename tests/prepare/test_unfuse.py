"""What onnxruntime has fused is written out and computes what onnxruntime's own kernels do."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import oq
from oq.errors import ModelError
from oq.numerics.values import Array
from oq.planning.overrides import Overrides
from oq.planning.setup import own_target, plan_model
from oq.prepare.order import prepare
from oq.prepare.raise_opset import raise_opset
from oq.prepare.unfuse import least_opset, unfuse
from tests.small import assert_same_outputs, floats, normal, ops, random_feeds, reference, small

MS = "com.microsoft"
CONSTANTS: dict[str, Array] = {
    "cw": normal(4, 3, 3, 3, seed=1),
    "cb": normal(4, seed=2),
    "w": normal(8, 8, seed=3),
    "wide": normal(8, 24, seed=4),
    "b24": normal(24, seed=5),
    "b": normal(8, seed=6),
    "g": 1 + normal(8, seed=7) / 4,
    "stack": normal(2, 8, 8, seed=8),
    "words": normal(20, 8, seed=9),
    "places": normal(10, 8, seed=10),
    "kinds": normal(2, 8, seed=11),
    "ids": np.asarray([[3, 1, 4], [1, 5, 9]], np.int32),
    "segments": np.asarray([[0, 1, 1], [0, 0, 1]], np.int32),
    "seen": np.asarray([[1, 1, 0], [1, 1, 1]], np.int32),
    "lengths": np.asarray([2, 3], np.int32),
    "scores": normal(1, 2, 3, 3, seed=12),
}


def fused(text: str, opset: int = 17) -> onnx.ModelProto:
    """The model of ``text`` with the constants it names; ``ms.`` stands for :data:`MS`."""
    used = {
        n: v
        for n, v in CONSTANTS.items()
        if n in set(text.replace(",", " ").replace("(", " ").replace(")", " ").split())
    }
    model = small(text.replace("ms.", f"{MS}."), used, opset=opset)
    model.opset_import.add(domain=MS, version=1)
    return model


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    made, _ = unfuse(raise_opset(model, max(13, least_opset(model))))
    kept = [o for o in made.opset_import if o.domain != MS]
    del made.opset_import[:]
    made.opset_import.extend(kept)
    return made


CONV = "net (float[2,3,6,6] x) => (float[2,4,h,v] y) {{ y = ms.FusedConv <{}> ({}) }}"
ROWS = "net (float[2,3,8] x) => (float[a,b,c] y) {{ {} }}"
FLAT = "net (float[3,8] x) => (float[a,b] y) {{ {} }}"
FOUR = "net (float[2,2,3,8] x, float[2,2,3,8] z) => (float[a,b,c,d] y) {{ {} }}"

CASES = [
    CONV.format('activation = "Relu"', "x, cw, cb"),
    CONV.format('activation = "Relu", pads = [1,1,1,1], strides = [2,2]', "x, cw"),
    CONV.format('activation = "Clip", activation_params = [-0.5, 0.5]', "x, cw, cb"),
    CONV.format('activation = "LeakyRelu", activation_params = [0.3]', "x, cw, cb"),
    CONV.format('activation = "HardSigmoid", activation_params = [0.3, 0.4]', "x, cw, cb"),
    CONV.format('activation = "Tanh", auto_pad = "SAME_UPPER"', "x, cw, cb"),
    CONV.format('activation = "Tanh", auto_pad = "VALID", dilations = [2,2]', "x, cw, cb"),
    CONV.format('activation = "Sigmoid"', "x, cw"),
    FLAT.format('y = ms.FusedGemm <activation = "Relu", transB = 1> (x, w, b)'),
    FLAT.format('y = ms.FusedGemm <activation = "Relu", alpha = 0.5, beta = 2.0> (x, w, b)'),
    FLAT.format('y = ms.FusedGemm <activation = "LeakyRelu", activation_alpha = 0.3> (x, w)'),
    FLAT.format('y = ms.FusedGemm <activation = "Elu", activation_alpha = 0.3> (x, w, b)'),
    FLAT.format(
        'y = ms.FusedGemm <activation = "HardSigmoid", activation_alpha = 0.3,'
        " activation_beta = 0.6> (x, w)"
    ),
    ROWS.format("y = ms.FusedMatMul <alpha = 0.25> (x, w)"),
    ROWS.format("y = ms.FusedMatMul <transB = 1, alpha = 2.0> (x, w)"),
    FOUR.format("y = ms.FusedMatMul <transB = 1, alpha = 0.5> (x, z)"),
    FOUR.format("y = ms.FusedMatMul <transA = 1> (x, z)"),
    FOUR.format("y = ms.FusedMatMul <transBatchA = 1, transBatchB = 1, transB = 1> (x, z)"),
    ROWS.format("y = ms.TransposeMatMul <transA = 1> (x, x)"),
    ROWS.format("y = ms.Gelu (x)"),
    ROWS.format("y = ms.BiasGelu (x, b)"),
    ROWS.format("y = ms.FastGelu (x)"),
    ROWS.format("y = ms.FastGelu (x, b)"),
    ROWS.format("y = ms.QuickGelu (x)"),
    ROWS.format("y = ms.QuickGelu <alpha = 1.0> (x)"),
    ROWS.format("y = ms.SkipLayerNormalization <epsilon = 0.001> (x, x, g, b, b)"),
    ROWS.format("y = ms.SkipLayerNormalization (x, x, g)"),
    ROWS.format('y, "", "", s = ms.SkipLayerNormalization (x, x, g, b)').replace(
        "=> (float[a,b,c] y)", "=> (float[a,b,c] y, float[a,b,c] s)"
    ),
    ROWS.format("y = ms.SkipSimplifiedLayerNormalization <epsilon = 0.001> (x, x, g, b)"),
    ROWS.format("y = SimplifiedLayerNormalization <epsilon = 0.001> (x, g)"),
    ROWS.format("y = SimplifiedLayerNormalization <axis = 2> (x, g)"),
    ROWS.format(
        'e, "" = ms.EmbedLayerNormalization <epsilon = 0.001>'
        " (ids, segments, words, places, kinds, g, b)\n y = Add (e, x)"
    ),
    ROWS.format(
        'e, m = ms.EmbedLayerNormalization (ids, "", words, places, "", g, b, seen)\n'
        " k = Cast <to = 1> (m)\n s = ReduceSum <keepdims = 1> (k)\n f = Add (e, s)\n"
        " y = Add (f, x)"
    ),
    ROWS.format("y = ms.Attention <num_heads = 2> (x, wide, b24)"),
    ROWS.format("y = ms.Attention <num_heads = 2> (x, wide, b24, seen)"),
    ROWS.format("y = ms.Attention <num_heads = 2> (x, wide, b24, lengths)"),
    ROWS.format("y = ms.Attention <num_heads = 2, unidirectional = 1> (x, wide, b24)"),
    ROWS.format('y = ms.Attention <num_heads = 2, scale = 0.3> (x, wide, b24, "", "", scores)'),
    ROWS.format("y = ms.Attention <num_heads = 4, qkv_hidden_sizes = [8,8,8]> (x, wide, b24)"),
    ROWS.format("q = MatMul (x, w)\n y = ms.MultiHeadAttention <num_heads = 2> (q, x, x, b24)"),
    ROWS.format('y = ms.MultiHeadAttention <num_heads = 2> (x, x, x, "", seen)'),
    ROWS.format('y = ms.MultiHeadAttention <num_heads = 2> (x, x, x, "", "", scores)'),
]


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("text", CASES)
def test_the_standard_nodes_compute_what_the_fused_kernel_does(text: str, opset: int) -> None:
    model = fused(text, opset)
    made = plain(model)
    assert all(n.domain == "" for n in made.graph.node)
    assert_same_outputs(model, made, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("text", [CASES[i] for i in (0, 10, 15, 25, 29, 33)])
def test_a_file_of_an_old_opset_is_raised(text: str) -> None:
    model = fused(text, 13)
    assert_same_outputs(model, plain(model), rtol=2e-5, atol=2e-5)


def test_the_layer_has_the_name_of_the_fused_node() -> None:
    model = fused(FLAT.format('[fc] y = ms.FusedGemm <activation = "Relu"> (x, w)'))
    assert [(n.op_type, n.name) for n in plain(model).graph.node] == [
        ("Gemm", "fc"),
        ("Relu", "fc_Relu"),
    ]


def test_fused_nodes_in_bodies_are_written_out() -> None:
    model = fused(
        """net (float[2,8] x, bool c) => (float[2,8] y) {
            y = If (c) <
                then_branch = yes () => (float[2,8] t) { t = ms.QuickGelu (x) },
                else_branch = no () => (float[2,8] e) { e = ms.FastGelu (x, b) }
            >
        }"""
    )
    made = plain(model)
    for flag in (True, False):
        feeds = {**random_feeds(model), "c": np.asarray(flag)}
        expected, found = reference(model, feeds)["y"], reference(made, feeds)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        ROWS.format("y, mean = ms.SkipLayerNormalization (x, x, g)"),
        CONV.format('activation = "Mish"', "x, cw"),
        ROWS.format("y, p = ms.Attention <num_heads = 2> (x, wide, b24)"),
    ],
)
def test_a_form_that_is_not_written_out_stays_and_is_named(text: str) -> None:
    made, outcome = unfuse(fused(text))
    assert outcome.changed == 0 and "is kept" in outcome.refusals[0]
    assert [n.domain for n in made.graph.node] == [MS]


# -- files that onnxruntime itself has saved -----------------------------------------------------


def saved(model: onnx.ModelProto, level: str, folder: Path) -> onnx.ModelProto:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(folder / "saved.onnx")
    ort.InferenceSession(model.SerializeToString(), options)
    return onnx.load(folder / "saved.onnx")


LAYERS: dict[str, Array] = {
    "c1": normal(8, 3, 3, 3, seed=1) / 5,
    "c2": normal(8, 8, 3, 3, seed=2) / 8,
    "c3": normal(8, 8, 3, 3, seed=3) / 8,
    "k": normal(8, seed=4),
    "m1": normal(8, 16, seed=5) / 3,
    "m2": normal(16, 8, seed=6) / 4,
    "m3": normal(8, 4, seed=7),
    "m": normal(16, seed=8),
    "g": 1 + normal(8, seed=9) / 4,
    "low": floats(0).reshape(()),
    "high": floats(2).reshape(()),
    "half": floats(0.5).reshape(()),
    "root": floats(1.4142135).reshape(()),
    "one": floats(1).reshape(()),
    "to": np.asarray([0, 8, 16]),
}
IMAGES = """net (float[n,3,4,4] x) => (float[n,8] y) {
    a = Conv <pads = [1,1,1,1]> (x, c1, k)
    b = Relu (a)
    c = Conv <pads = [1,1,1,1]> (b, c2)
    d = Clip (c, low, high)
    e = Conv <pads = [1,1,1,1]> (d, c3, k)
    f = Add (e, b)
    h = Relu (f)
    p = GlobalAveragePool (h)
    q = Flatten (p)
    r = Gemm (q, m1, m)
    s = Relu (r)
    y = Gemm (s, m2)
}"""
TOKENS = """net (float[n,3,8] x) => (float[n,3,4] y) {
    a = MatMul (x, m1)
    b = Add (a, m)
    c = Div (b, root)
    d = Erf (c)
    e = Add (d, one)
    f = Mul (b, e)
    h = Mul (f, half)
    i = MatMul (h, m2)
    j = Add (i, k)
    l = Add (j, x)
    o = LayerNormalization (l, g, k)
    t = Transpose <perm = [0,2,1]> (o)
    q = MatMul (o, t)
    r = Mul (q, half)
    s = Softmax (r)
    u = MatMul (s, o)
    y = MatMul (u, m3)
}"""
NETS = {"images": IMAGES, "tokens": TOKENS}


def net(name: str) -> onnx.ModelProto:
    used = {n: v for n, v in LAYERS.items() if f"{n})" in NETS[name] or f"{n}," in NETS[name]}
    return small(NETS[name], used)


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED", "ALL"])
@pytest.mark.parametrize("name", NETS)
def test_what_onnxruntime_saves_is_the_model_again(name: str, level: str, tmp_path: Path) -> None:
    model = net(name)
    stored = saved(model, level, tmp_path)
    if level == "ALL" and name == "images":
        if any(n.domain == "com.microsoft.nchwc" for n in stored.graph.node):
            with pytest.raises(ModelError, match="laid this file out for one kind of processor"):
                unfuse(stored)
        return
    assert (level == "BASIC") is not any(n.domain == MS for n in stored.graph.node)
    made = prepare(stored, 13).graph.to_model()
    assert not any(n.domain for n in made.graph.node)
    assert_same_outputs(model, made, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", ["trt", "coreml", "dpu", "ort"])
@pytest.mark.parametrize("name", NETS)
def test_its_layers_are_quantized_as_those_of_the_model(
    name: str, target: str, tmp_path: Path
) -> None:
    model = net(name)
    stored = saved(model, "EXTENDED", tmp_path)
    plans = [plan_model(m, own_target(target, {}), Overrides()).plan for m in (model, stored)]
    weights = [sum(s.role == "weight" for s in p.sites) for p in plans]
    assert weights[0] == weights[1] >= 3
    shape = {"images": (16, 3, 4, 4), "tokens": (16, 3, 8)}[name]
    made = oq.quantize(stored, target, {"x": normal(*shape)}, refine=("none",))
    found = made.report.verification
    assert found is not None and found.literal.outputs[0].sqnr_db > 18
    assert not any("foreign" in n for n in made.report.notes)


def test_what_stays_foreign_is_said(tmp_path: Path) -> None:
    text = ROWS.format("h = MatMul (x, w)\n y, p = ms.Attention <num_heads = 2> (h, wide, b24)")
    model = fused(text.replace("float[a,b,c] y)", "float[a,b,c] y, float[2,a,b,c,d] p)"))
    data = {"x": normal(2, 3, 8)}
    notes = oq.quantize(model, "trt", data, refine=("none",), verify=False).report.notes
    assert any("1 node foreign to target trt (1 x Attention of com.microsoft)" in n for n in notes)
    own = oq.quantize(model, "ort", data, refine=("none",), verify=False).report
    assert not any("foreign" in n for n in own.notes)
    assert any("which target ort runs in float" in s.reason for s in own.plan.skips)


def test_another_operator_of_a_known_name_is_not_taken_for_it() -> None:
    text = "net (float[2,3,6,6] x) => (float[2,4,4,4] y) { y = com.example.Conv (x, cw, cb) }"
    view = prepare(small(text, {n: CONSTANTS[n] for n in ("cw", "cb")}), 13).graph.view
    assert [n.op for n in view().nodes] == ["com.example.Conv"]


def test_ops_survive(tmp_path: Path) -> None:
    assert "LayerNormalization" in ops(plain(saved(net("tokens"), "EXTENDED", tmp_path)))
