"""What ``oq plan`` and ``oq plan --why`` say of a plan."""

import re

import pytest

from oq.errors import OptionError
from oq.model.graph import Graph
from oq.numerics.values import INT8, INT8_NARROW, INT32, UINT8
from oq.pipeline import explain
from oq.planning import registry
from oq.planning.explain import describe, plan_lines, why_lines
from oq.planning.plan import plan
from oq.planning.spec import Fixed, Own, Plan, Product, QuantSpec, Share
from tests.golden_images import residual
from tests.graphs import Net


@pytest.fixture(scope="module")
def residual_plan() -> Plan:
    return plan(Graph(residual()).view(), registry.target("trt"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Own(UINT8), "uint8 affine per tensor"),
        (Own(INT8_NARROW, 1), "int8 symmetric per channel of axis 1"),
        (Share("x"), "scale and zero point of x"),
        (Fixed(UINT8, 0.00390625, 0), "uint8 affine with scale 0.00390625 and zero point 0"),
        (Product(INT32, "x", "w"), "int32 with scale(x) * scale(w)"),
        (Own(INT8), "int8 symmetric per tensor"),
    ],
)
def test_describe(spec: QuantSpec, words: str) -> None:
    assert describe(spec) == words


def test_the_whole_plan(residual_plan: Plan) -> None:
    lines = list(plan_lines(residual_plan))
    assert lines[0] == (
        "target trt: 3 of 3 weighted layers quantized, 6 sites, 0 nodes left in float"
    )
    assert any(re.fullmatch(r"  Conv\+Add\+Relu +n_f, n_a, n_o", line) for line in lines)
    assert "  activation r: int8 symmetric per tensor, read by n_a, n_d" in lines
    assert "  weight     w_f: int8 symmetric per channel of axis 0, read by n_f" in lines
    # Every site and every kernel has its line.
    assert sum(" read " in line for line in lines) == len(residual_plan.sites)


def test_why_a_tensor(residual_plan: Plan) -> None:
    assert list(why_lines(residual_plan, "r")) == [
        "tensor r is quantized: int8 symmetric per tensor",
        "  read by n_a, n_d",
        "  requested by rule Conv+Add+Relu, Conv+Relu of target trt",
    ]


def test_why_a_node(residual_plan: Plan) -> None:
    said = list(why_lines(residual_plan, "n_a"))
    assert said[:2] == [
        "node n_a is quantized: rule Conv+Add+Relu of target trt",
        "  one kernel with n_f, n_o",
    ]
    assert "  reads activation r: int8 symmetric per tensor" in said
    assert "  reads activation e: int8 symmetric per tensor" in said


def test_why_not() -> None:
    net = Net()
    net.node("Softmax", [net.input("x", ("n", 4))], "s")
    found = plan(Graph(net.model("s")).view(), registry.target("trt"))
    assert list(why_lines(found, "n_s")) == [
        "node n_s (Softmax) stays in float: TensorRT keeps softmax in float"
    ]


def test_why_not_fused() -> None:
    net = Net()
    c = net.conv(net.input("x"), "c")
    net.node("Relu", [c], "r")
    found = plan(Graph(net.model("r", "c")).view(), registry.target("trt"))
    said = list(why_lines(found, "n_c"))
    assert said[0] == "node n_c is quantized: rule Conv of target trt"
    assert (
        "  rule Conv+Relu does not apply: 'c' is also a graph output, so Relu cannot be fused"
        in said
    )


def test_why_something_else(residual_plan: Plan) -> None:
    with pytest.raises(OptionError, match=r"--why 'head': the plan mentions no such tensor or"):
        list(why_lines(residual_plan, "head"))


def residual_says(name: str) -> tuple[str, ...]:
    return explain(residual(), "trt", name)


def test_why_a_tensor_inside_a_kernel() -> None:
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    assert explain(net.model("r"), "trt", "c") == (
        "tensor c is internal to a fused kernel, Conv+Relu of trt",
    )


def test_why_a_float_tensor_names_its_readers() -> None:
    net = Net()
    net.node("Softmax", [net.node("Erf", [net.input("x")], "e")], "s")
    assert explain(net.model("s"), "trt", "e") == (
        "tensor e stays in float: no quantized layer reads it",
        "  read by n_s (Softmax), which stays in float: TensorRT keeps softmax in float",
    )


def test_why_a_float_constant_and_a_shape() -> None:
    net = Net()
    shape = net.node("Shape", [net.input("x")], "size")
    net.node("Reshape", [net.conv("x", "c"), shape], "r")
    model = net.model("r")
    assert explain(model, "trt", "b_c")[0] == "tensor b_c is a constant and stays in float"
    words = "is not a float tensor: nothing to quantize"
    assert explain(model, "trt", "size")[0] == f"tensor size {words}"
    assert "nothing to quantize" in explain(model, "trt", "n_size")[0]


def test_why_every_name_of_the_graph_has_an_answer() -> None:
    model = residual()
    names = [n.name for n in model.graph.node] + [t for n in model.graph.node for t in n.output]
    names += [t.name for t in model.graph.initializer] + [i.name for i in model.graph.input]
    for name in names:
        assert explain(model, "trt", name), name


def test_why_a_name_that_is_nearly_right() -> None:
    with pytest.raises(OptionError, match=r"did you mean .*'w_f'"):
        residual_says("w_ff")
    with pytest.raises(OptionError) as found:
        residual_says("something else entirely")
    assert "did you mean" not in str(found.value)


def test_moves_are_no_kernels() -> None:
    net = Net()
    pool = net.node("MaxPool", [net.conv(net.input("x"), "c")], "m", kernel_shape=[2, 2])
    found = plan(Graph(net.model(net.conv(pool, "d"))).view(), registry.target("ort"))
    lines = list(plan_lines(found))
    kernels = lines[lines.index("kernels") : lines.index("sites")]
    moved = kernels.index("data movement, with the scale and zero point of the input")
    assert any("n_c" in line for line in kernels[:moved])
    assert kernels[moved + 1].split() == ["MaxPool", "n_m"]
    assert not any("n_m" in line for line in kernels[:moved])
