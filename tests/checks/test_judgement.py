"""Whole files judged: bodies of If, broken files, and the words of the answer."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

import oq
from models.digits import BUNDLED
from oq.checks.describe import judgement_lines
from oq.checks.judgement import judge
from oq.cli import app
from oq.engines.onnxruntime import INTEGER_KERNELS
from oq.errors import ModelError
from oq.model.session import optimized_ops
from oq.model.submodels import bodies
from oq.planning import registry
from tests.graphs import Net
from tests.odd_models import ODD
from tests.pairs import conv, pair
from tests.small import normal, small


def branching(grid: str = "uint8", *, inside: bool = True) -> onnx.ModelProto:
    """If: the first body is a quantized convolution, with its input's pair ``inside`` it or
    outside, and the second body is an Erf."""
    inner = Net()
    data = pair(inner, "x", "i", grid) if inside else "d_x"
    made = pair(inner, conv(inner, data, "c"), "c", grid)
    first = helper.make_graph(
        inner.nodes,
        "then",
        [],
        [helper.make_tensor_value_info(made, TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(v, n) for n, v in inner.constants.items()],
    )
    second = helper.make_graph(
        [helper.make_node("Erf", ["x"], ["e"])],
        "else",
        [],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
    )
    net = Net()
    pair(net, net.input("x"), "x", grid)
    net.node("ReduceSum", ["d_x"], "total", keepdims=0)
    net.node("Greater", ["total", net.constant("zero", 0.0)], "positive")
    net.node("If", ["positive"], "i", then_branch=first, else_branch=second)
    return net.model("i")


def test_bodies_are_models_of_their_own() -> None:
    found = {body.path: body.model for body in bodies(ODD["branches"]())}
    assert set(found) == {"n_i/then_branch/", "n_i/else_branch/"}
    model = found["n_i/then_branch/"]
    assert [i.name for i in model.graph.input] == ["a"]
    assert [t.name for t in model.graph.initializer] == ["w_a"]
    onnx.checker.check_model(model, full_check=True)


def test_bodies_of_bodies() -> None:
    model = ODD["branches"]()
    node = next(n for n in model.graph.node if n.op_type == "If")
    deeper = onnx.NodeProto()
    deeper.CopyFrom(node)
    deeper.name, deeper.output[0] = "deeper", "deep"
    node.attribute[0].g.node.append(deeper)
    paths = [body.path for body in bodies(model)]
    first = node.attribute[0].name
    assert f"n_i/{first}/deeper/then_branch/" in paths and len(paths) == 4


@pytest.mark.parametrize("inside", [True, False])
def test_a_body_is_forecast(inside: bool) -> None:
    """Its kernels are onnxruntime's: no pair fuses across the border of a body."""
    model = branching(inside=inside)
    found = judge(model, registry.target("ort")).forecast
    fates = {f.node: f for f in found.nodes}
    reason = "" if inside else "its input 'd_x' is float: it does not come from a DequantizeLinear"
    assert fates["n_i/then_branch/n_c"].reason == reason
    assert fates["n_i/else_branch/Erf_e"].reason == "target ort does not support Erf in int8"
    assert found.macs == 4 * 4 * 9 * 64
    assert found.kernels == optimized_ops(model)["QLinearConv"] == inside


def test_a_body_is_checked() -> None:
    findings = judge(branching(), registry.target("trt")).findings
    wrong = {f.node.rpartition("/")[0] for f in findings if f.check == "no-uint8"}
    assert wrong == {"", "n_i/then_branch"}


def test_outputs_of_a_body_are_no_graph_outputs() -> None:
    found = judge(branching("int8"), registry.target("trt"))
    assert "output-is-float" not in {f.check for f in found.findings}


def test_pairs_in_a_body_alone_are_enough() -> None:
    model = branching()
    body = next(bodies(model)).model
    assert body.graph.node
    for node in list(model.graph.node):
        if node.op_type.endswith("QuantizeLinear"):
            model.graph.node.remove(node)
    model.graph.node.insert(0, helper.make_node("Identity", ["x"], ["d_x"], "n_d"))
    assert judge(model, registry.target("ort")).forecast.nodes


def test_a_float_model_is_refused() -> None:
    with pytest.raises(ModelError, match="it is a float model, and there is nothing to check"):
        judge(ODD["branches"](), registry.target("ort"))


def test_a_file_of_oq_in_which_nothing_is_quantized_is_legal() -> None:
    net = small("net (float[n,4] x) => (float[n,4] y) { y = Sin(x) }")
    made = oq.quantize(net, "dpu", {"x": normal(16, 4)}, refine="none").model
    found = judge(made, registry.target("dpu"))
    assert found.findings == () and found.forecast.kernels == 0
    assert [n.runs for n in found.forecast.nodes] == ["float"]


def test_a_file_that_does_not_load_is_judged_all_the_same() -> None:
    net = Net()
    net.node("Mystery", [pair(net, net.input("x"), "x")], "m", domain="nobody.knows")
    graph = helper.make_graph(
        net.nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("m", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in net.constants.items()],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("nobody.knows", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    found = judge(model, registry.target("ort"))
    assert [(f.node, f.runs) for f in found.forecast.nodes] == [("n_m", "float")]


def test_the_answer_in_words() -> None:
    model = oq.quantize(BUNDLED / "residual.onnx", "trt", "random", samples=2, verify=False).model
    lines = list(judgement_lines(judge(model, registry.target("ort"))))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "warning [relu-grid] x4: zero point 0 leaves room for negative values, which" in text
    assert "  float: Conv+Relu                   4 45.6 %" in lines
    assert "      node_Conv_124, node_Conv_126, node_Conv_130, and 1 more" in lines
    assert "target      ort" in lines
    assert "int8        1 of 13 kernels, 0.0 % of 828.7 k MACs" in lines
    assert "18 between int8 and float, 0 requantizations" in lines[-1]


def test_the_answer_without_findings() -> None:
    model = oq.quantize(BUNDLED / "residual.onnx", "ort", "random", samples=2, verify=False).model
    lines = list(judgement_lines(judge(model, registry.target("ort"))))
    assert lines[0].startswith("runs as")
    assert "findings    no findings" in lines
    assert "int8        13 of 14 kernels, 100.0 % of 856.4 k MACs" in lines
    # a first layer of one channel reads zeros beside it, 64 * 16 * 9 * 3 products more
    assert [line.split()[1] for line in lines if "float:" in line] == ["Pad"]


def test_oq_check_as_json(tmp_path: object) -> None:
    path = f"{tmp_path}/q.onnx"
    made = oq.quantize(BUNDLED / "separable.onnx", "ort", "random", samples=2, verify=False)
    made.save(path)
    answer = CliRunner().invoke(app, ["check", path, "-t", "ort", "--json"])
    assert answer.exit_code == 0
    found = json.loads(answer.stdout)
    assert found["target"] == "ort" and found["findings"] == []
    kernels = sum(n for op, n in optimized_ops(made.model).items() if op in INTEGER_KERNELS)
    assert found["forecast"]["kernels"] == kernels > 5
    fates = [f for f in found["forecast"]["nodes"] if f["op"] == "Conv" and f["runs"] == "int8"]
    assert fates and all(f["macs"] > 0 and f["kernel"].startswith("Conv") for f in fates)
