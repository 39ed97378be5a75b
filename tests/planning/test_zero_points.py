"""Zero points in biases: the same numbers from a symmetric grid, and only where biases can."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

import oq
from oq.calibration.collect import collect
from oq.calibrators.minmax import MinMax
from oq.comparison.deviation import sqnr_db
from oq.emission.emit import emit
from oq.emission.fold_zero_points import fold_zero_points, saturating
from oq.emission.solve import Solution, solve
from oq.model.graph import Graph
from oq.model.session import Session, Settings
from oq.numerics.grid import Grid, fit
from oq.numerics.values import INT8, INT8_AFFINE, Array, Batch, Range
from oq.planning import registry
from oq.planning.explain import plan_lines
from oq.planning.overrides import Layer, Overrides, make_overrides
from oq.planning.setup import Planned, plan_model, tensors_to_calibrate
from oq.planning.spec import Own
from oq.planning.zero_points import find_foldable_zero_points
from tests.graphs import CHANNELS, Net

DATA = np.random.default_rng(5).normal(0.3, 1, (16, CHANNELS, 8, 8)).astype(np.float32)
ROWS = np.random.default_rng(6).normal(0.3, 1, (16, 5, CHANNELS)).astype(np.float32)


def pointwise(net: Net, data: str, output: str, *, group: int = 1, bias: bool = True) -> str:
    names = [data, net.weight(f"w_{output}", 8, CHANNELS // group, 1, 1)]
    names += [net.weight(f"b_{output}", 8)] if bias else []
    return net.node("Conv", names, output, group=group)


def clip(net: Net, data: str, output: str, low: float = 0.0, high: float = 0.7) -> str:
    bounds = [net.constant(f"lo_{output}", low), net.constant(f"hi_{output}", high)]
    return net.node("Clip", [data, *bounds], output)


def separable(*, bias: bool = True, group: int = 1) -> onnx.ModelProto:
    """A padded convolution, a Clip, a pointwise one, a Relu, and one that pads nothing."""
    net = Net()
    net.conv(net.input("x"), "a", bias=bias)
    pointwise(net, clip(net, "a", "ca"), "b", group=group, bias=bias)
    net.node("Relu", ["b"], "rb")
    net.node("Conv", ["rb", net.weight("w_y", 3, 8, 3, 3)], "y")
    return net.model("y")


def linear() -> onnx.ModelProto:
    """MatMuls with and without their bias in an Add."""
    net = Net()
    net.input("x", ("n", 5, CHANNELS))
    net.node("MatMul", ["x", net.weight("w_a", CHANNELS, 8)], "a")
    net.node("Relu", [net.node("Add", ["a", net.weight("b_a", 8)], "s")], "ra")
    net.node("MatMul", ["ra", net.weight("w_b", 8, 8)], "b")
    net.node("Relu", ["b"], "rb")
    net.node("MatMul", ["rb", net.weight("w_y", 8, 3)], "y")
    return net.model("y")


def solved(model: onnx.ModelProto, data: Array) -> tuple[Planned, Solution]:
    planned = plan_model(model, registry.target("trt"), Overrides())
    wanted = tensors_to_calibrate(planned.plan, planned.view)
    statistics = collect(planned.model, wanted, [Batch({"x": data})])
    return planned, solve(planned.plan, planned.view, statistics, MinMax())


def run(model: onnx.ModelProto, data: Array) -> Array:
    return Session(model, Settings(reading="literal")).run({"x": data}, ["y"])[0]


CASES: dict[str, tuple[Callable[[], onnx.ModelProto], Array, int]] = {
    "biases": (separable, DATA, 2),
    "no biases": (lambda: separable(bias=False), DATA, 2),
    "groups": (lambda: separable(group=2), DATA, 2),
    "matrices": (linear, ROWS, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_of_affine_grids(case: str) -> None:
    """Both graphs run in onnxruntime: with zero points and activations, and without."""
    make, data, count = CASES[case]
    planned, solution = solved(make(), data)
    affine, symmetric = Graph(planned.model), Graph(planned.model)
    emit(affine, planned.plan, solution)
    plan, carried, found = fold_zero_points(symmetric, planned.plan, solution)
    emit(symmetric, plan, carried)
    assert found == count
    view = symmetric.view()
    assert not [n.op for n in view.nodes if n.op in ("Relu", "Clip")]
    zeros = [view.constants[n.inputs[2]] for n in view.nodes if n.op == "QuantizeLinear"]
    assert len(zeros) >= count and not np.any(zeros)
    wanted, got = (run(g.to_model(), data) for g in (affine, symmetric))
    # a code may fall on the other side of a half where sums are rounded differently: rarely
    assert np.mean(np.abs(got - wanted) > 1e-4 * np.abs(wanted).max()) < 0.01


def test_steps_are_half_as_large() -> None:
    model = separable()
    found = {}
    for zero_points in ("bias", "none"):
        settings = {"zero_points": zero_points}
        result = oq.quantize(model, "trt", DATA, settings=settings, refine="none", verify=False)
        view = Graph(result.model).view()
        name = {"bias": "rb_shifted", "none": "rb"}[zero_points]
        pair = next(n for n in view.nodes if n.op == "QuantizeLinear" and n.inputs[0] == name)
        scale = float(view.constants[pair.inputs[1]])
        wanted, got = (run(m, DATA).astype(np.float64) for m in (model, result.model))
        noise = float(np.sum((wanted - got) ** 2))
        found[zero_points] = scale, sqnr_db(float(np.sum(wanted**2)), noise)
        assert oq.check(result.model, "trt") == ()
    assert found["bias"][0] == pytest.approx(found["none"][0] * 127 / 255)
    assert found["bias"][1] > found["none"][1] + 0.5  # of three grids on the way, and weights


def padded(net: Net) -> None:
    net.conv(net.node("Relu", ["a"], "r"), "y")


def strided_with_auto_pad(net: Net) -> None:
    names = [net.node("Relu", ["a"], "r"), net.weight("w_y", 3, CHANNELS, 3, 3)]
    net.node("Conv", names, "y", auto_pad="SAME_UPPER")


def read_twice(net: Net) -> None:
    pointwise(net, net.node("Relu", ["a"], "r"), "b")
    net.node("Concat", ["b", "r"], "y", axis=1)


def a_slope_below_zero(net: Net) -> None:
    pointwise(net, net.node("LeakyRelu", ["a"], "r"), "y")


def a_clip_below_zero(net: Net) -> None:
    pointwise(net, clip(net, "a", "r", low=-1.0), "y")


def a_bound_that_is_computed(net: Net) -> None:
    top = net.node("ReduceMax", ["x"], "top", keepdims=0)
    net.node("Clip", ["a", net.constant("lo", 0.0), top], "r")
    pointwise(net, "r", "y")


def read_before_the_activation(net: Net) -> None:
    pointwise(net, net.node("Relu", ["a"], "r"), "b")
    net.node("Concat", ["b", "a"], "y", axis=1)


def summed(net: Net) -> None:
    net.node("Relu", [net.node("Add", ["a", "x"], "s")], "r")
    pointwise(net, "r", "y")


@pytest.mark.parametrize(
    "tail",
    [
        padded,
        strided_with_auto_pad,
        read_twice,
        a_slope_below_zero,
        a_clip_below_zero,
        a_bound_that_is_computed,
        read_before_the_activation,
        summed,
    ],
)
def test_elsewhere_grids_stay_symmetric(tail: Callable[[Net], None]) -> None:
    net = Net()
    net.conv(net.input("x"), "a")
    tail(net)
    planned = plan_model(net.model("y"), registry.target("trt"), Overrides())
    assert not list(find_foldable_zero_points(planned.plan, planned.view))
    specs = [s.spec for s in planned.plan.sites if s.role == "activation"]
    assert specs and all(isinstance(s, Own) and s.qtype.symmetric for s in specs)


def test_a_reader_in_float_needs_the_tensor_as_it_is() -> None:
    planned = plan_model(separable(), registry.target("trt"), make_overrides(["n_b"]))
    assert not list(find_foldable_zero_points(planned.plan, planned.view))


@pytest.mark.parametrize("option", [{"zero_points": "none"}, {"high_precision": "fp16"}])
def test_options_without_them(option: dict[str, str]) -> None:
    result = oq.quantize(separable(), "trt", DATA, settings=option, verify=False)
    ops = [n.op for n in Graph(result.model).view().nodes]
    assert ops.count("Relu") == ops.count("Clip") == 1


def test_ranges_from_elsewhere_are_cut_where_the_activation_cuts() -> None:
    def grid(lo: float, hi: float) -> Grid:
        return fit(Range(np.asarray(lo), np.asarray(hi)), INT8_AFFINE)

    kept = grid(0, 5)
    assert saturating(kept, 6) is kept and saturating(kept, float("inf")) is kept
    for wide in (grid(-2, 5), grid(0, 9), grid(-2, 9)):
        found = saturating(wide, 6)
        assert float(found.lowest) == 0
        assert float(found.highest) == pytest.approx(min(float(wide.highest), 6))


def test_the_report_says_so() -> None:
    result = oq.quantize(separable(), "trt", DATA, verify=False)
    assert any(
        n.startswith("2 tensors after a ReLU use all 256 int8 levels") for n in result.report.notes
    )
    assert any("zero point folded into biases" in line for line in plan_lines(result.report.plan))
    specs = {s.tensor: s.spec for s in result.report.plan.sites}
    assert specs["x"] == Own(INT8) and specs["rb"] == Own(INT8_AFFINE, carried=True)


def test_who_asks_for_int8_gets_it_symmetric() -> None:
    wish = Layer("rb", dtype="int8")
    result = oq.quantize(separable(), "trt", DATA, layers=[wish], verify=False)
    ops = [n.op for n in Graph(result.model).view().nodes]
    assert ops.count("Relu") == 1 and ops.count("Clip") == 0
    assert oq.check(result.model, "trt") == ()


def stack_behind(net: Net) -> None:
    net.node("MatMul", ["r", net.weight("w_y", 3, 8, 8)], "y")


def column_behind(net: Net) -> None:
    net.node("Add", [net.node("MatMul", ["r", net.weight("w_y", 8, 5)], "p"), "c"], "y")
    net.weight("c", 5, 1)


def vector_behind(net: Net) -> None:
    net.node("MatMul", ["r", net.weight("w_y", 8)], "y")


def twice_behind(net: Net) -> None:
    """One weight for two layers, each with its own bias."""
    net.node("MatMul", ["r", net.weight("w_b", 8, 8)], "b")
    net.node("Add", ["b", net.weight("b_b", 8)], "s")
    net.node("Add", ["s", net.node("MatMul", ["r", "w_b"], "d")], "y")


@pytest.mark.parametrize(
    ("tail", "count"),
    [(stack_behind, 0), (column_behind, 0), (vector_behind, 0), (twice_behind, 1)],
)
def test_layers_of_odd_shapes(tail: Callable[[Net], None], count: int) -> None:
    net = Net()
    net.input("x", ("n", 3, 5, CHANNELS))
    net.node("Relu", [net.node("MatMul", ["x", net.weight("w_a", CHANNELS, 8)], "a")], "r")
    tail(net)
    data = np.stack([ROWS, -ROWS, ROWS[::-1]], axis=1)
    check_file(net.model("y"), data, count)


@pytest.mark.parametrize("side", ["a", "y"])
def test_a_gemm_that_scales_a_bias_it_has_not_gets_one(side: str) -> None:
    net = Net()
    net.input("x", ("n", 8))
    for data, out in (("x", "a"), ("r", "y")):
        beta = 0.5 if out == side else 1.0
        net.node("Gemm", [data, net.weight(f"w_{out}", 8, 8)], out, beta=beta)
        if out == "a":
            net.node("Relu", ["a"], "r")
    check_file(net.model("y"), ROWS.reshape(-1, 8), 1)


@pytest.mark.parametrize("top", [0.0, -1.0])
def test_a_clip_that_lets_nothing_pass(top: float) -> None:
    net = Net()
    net.conv(net.input("x"), "a")
    pointwise(net, clip(net, "a", "r", high=top), "y")
    check_file(net.model("y"), DATA, 0)


def test_groups_that_do_not_say_how_many_channels_there_are() -> None:
    net = Net()
    net.node("ConvTranspose", [net.input("x"), net.weight("w_a", 4, 2, 2, 2)], "a", group=2)
    pointwise(net, net.node("Relu", ["a"], "r"), "y")
    check_file(net.model("y"), DATA, 0, conv_transpose="int8")


def test_a_node_that_nobody_reads() -> None:
    net = Net()
    net.conv(net.input("x"), "a")
    pointwise(net, net.node("Relu", ["a"], "r"), "y")
    pointwise(net, "x", "dead")
    check_file(net.model("y"), DATA, 1)


def test_an_activation_kept_in_float_stays() -> None:
    result = oq.quantize(separable(), "trt", DATA, keep_float=["n_rb"], verify=False)
    ops = [n.op for n in Graph(result.model).view().nodes]
    assert ops.count("Relu") == 1 and ops.count("Clip") == 0


def test_sensitivity_tells_what_keeping_a_layer_gives() -> None:
    """A neighbour kept in float takes the zero point away: its grid is symmetric again."""
    said = oq.sensitivity(separable(), "trt", DATA, seed=0)
    for layer in said.layers:
        kept = oq.quantize(
            *(separable(), "trt", DATA), keep_float=[layer.node], refine="none", verify=False
        )
        wanted, got = (run(m, DATA).astype(np.float64) for m in (separable(), kept.model))
        noise = float(np.sum((wanted - got) ** 2))
        db = sqnr_db(float(np.sum(wanted**2)), noise)
        assert layer.without_db == pytest.approx(db, abs=0.05)


def check_file(model: onnx.ModelProto, data: Array, count: int, **settings: str) -> None:
    """The file has ``count`` tensors less a ReLU, and is as near as one with symmetric grids."""
    errors = []
    for option in ("bias", "none"):
        chosen = {"zero_points": option, **settings}
        result = oq.quantize(model, "trt", data, settings=chosen, refine="none", verify=False)
        view = Graph(result.model).view()
        if option == "bias":
            assert sum(t.endswith("_shifted") for n in view.nodes for t in n.outputs) == count
        errors.append(np.abs(run(result.model, data) - run(model, data)).max())
    assert errors[0] <= 1.5 * errors[1]
