"""Q/DQ pairs mean what the grids say, keep names, and come out the same every time."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq.calibration.collect import collect
from oq.calibrators.minmax import MinMax
from oq.emission.emit import emit
from oq.emission.solve import Solution, solve
from oq.model.files import load_model
from oq.model.graph import Graph
from oq.numerics.grid import Grid, fake_quantize, fit
from oq.numerics.values import INT8_NARROW, INT32, UINT8, Array, Batch, Range
from oq.planning import registry
from oq.planning.plan import plan
from oq.planning.setup import tensors_to_calibrate
from oq.planning.spec import Own, Plan, Site, key
from oq.prepare.order import prepare
from tests.real import CIFAR, IMAGENET, needs_real
from tests.small import assert_same_outputs, normal, ops, random_feeds, reference, small


def own(tensor: str, *readers: str) -> Site:
    return Site(tensor, Own(UINT8), "activation", "row", readers)


def constant(tensor: str, *readers: str) -> Site:
    return Site(tensor, Own(INT8_NARROW, 1), "weight", "row", readers)


X_GRID = fit(Range(np.asarray(-2.0), np.asarray(3.0)), UINT8)
OTHER = fit(Range(np.asarray(-1.0), np.asarray(1.0)), UINT8)


def per_channel(weight: Array) -> Grid:
    lo, hi = np.minimum(weight.min(axis=0), 0), np.maximum(weight.max(axis=0), 0)
    return fit(Range(lo, hi), INT8_NARROW, 1)


def emitted(model: onnx.ModelProto, grids: dict[Site, Grid]) -> onnx.ModelProto:
    graph = Graph(model)
    solution = Solution({key(s): g for s, g in grids.items()})
    emit(graph, Plan("t", tuple(grids), (), ()), solution)
    made = graph.to_model()
    onnx.checker.check_model(made, full_check=True)
    return made


def quantize_fully(model: onnx.ModelProto, target: str) -> onnx.ModelProto:
    """The stages from prepare to emit, on normal data."""
    profile = registry.target(target)
    graph = prepare(model, profile.min_opset).graph
    view = graph.view()
    decided = plan(view, profile)
    batch = Batch(random_feeds(model, free=4))
    seen = collect(graph.to_model(), tensors_to_calibrate(decided, view), [batch])
    emit(graph, decided, solve(decided, view, seen, MinMax()))
    return graph.to_model()


# ---- meaning


def test_the_graph_computes_what_the_grids_say() -> None:
    weight = normal(8, 4)
    model = small("net (float[n,8] x) => (float[n,4] y) { [m] y = MatMul(x, w) }", {"w": weight})
    grid = per_channel(weight)
    made = emitted(model, {own("x", "m"): X_GRID, constant("w", "m"): grid, own("y"): OTHER})
    x = normal(6, 8, seed=1)
    expected = fake_quantize(x, X_GRID).astype(np.float64) @ fake_quantize(weight, grid)
    found = reference(made, {"x": x})["y"]
    assert np.abs(found - fake_quantize(expected, OTHER)).max() <= 1.001 * OTHER.scale
    assert np.array_equal(found, fake_quantize(found, OTHER))
    # the float weight is gone, the integer one is there
    stored = {t.name: t for t in made.graph.initializer}
    assert "w" not in stored
    assert stored["w_quantized"].data_type == onnx.TensorProto.INT8


def test_only_named_readers_take_the_copy() -> None:
    model = small(
        """net (float[n,3] x) => (float[n,3] a, float[n,3] b, float[n,3] r) {
            r = Identity(x)
            [one] a = Neg(r)
            [two] b = Neg(r)
        }"""
    )
    made = emitted(model, {own("r", "one"): X_GRID})
    x = normal(4, 3)
    found = reference(made, {"x": x})
    assert np.array_equal(found["a"], -fake_quantize(x, X_GRID))
    assert np.array_equal(found["b"], -x) and np.array_equal(found["r"], x)


def test_a_site_for_all_takes_over_the_name() -> None:
    """Several readers, both edges of one node, and the graph output get the quantized values."""
    model = small(
        """net (float[n,3] x) => (float[n,3] r, float[n,3] a, float[n,3] b) {
            [relu] r = Relu(x)
            a = Add(r, r)
            b = Neg(r)
        }"""
    )
    made = emitted(model, {own("r"): X_GRID})
    x = normal(4, 3)
    quantized = fake_quantize(np.maximum(x, 0), X_GRID)
    found = reference(made, {"x": x})
    assert np.array_equal(found["r"], quantized)
    assert np.array_equal(found["a"], quantized + quantized)
    assert np.array_equal(found["b"], -quantized)
    assert ops(made).count("QuantizeLinear") == 1
    relu = next(n for n in made.graph.node if n.name == "relu")
    assert list(relu.output) == ["r_float"]


@pytest.mark.parametrize("choice", [False, True])
def test_readers_inside_branches_take_the_copy(choice: bool) -> None:
    model = small(
        """net (float[n,3] x, bool c) => (float[n,3] y) {
            r = Relu(x)
            y = If(c) <
                then_branch = yes () => (float[n,3] u) { u = Neg(r) },
                else_branch = no () => (float[n,3] v) { v = Abs(r) }
            >
        }"""
    )
    made = emitted(model, {own("r"): X_GRID})
    x = normal(4, 3)
    sign = -1 if choice else 1
    found = reference(made, {"x": x, "c": np.asarray(choice)})["y"]
    assert np.array_equal(found, sign * fake_quantize(np.maximum(x, 0), X_GRID))


def test_a_graph_input_keeps_its_name_and_type() -> None:
    model = small("net (float[n,3] x) => (float[n,3] y) { [a] t = Neg(x)\n [b] y = Add(t, x) }")
    made = emitted(model, {own("x"): X_GRID})
    assert made.graph.input == model.graph.input
    x = normal(4, 3)
    quantized = fake_quantize(x, X_GRID)
    assert np.array_equal(reference(made, {"x": x})["y"], -quantized + quantized)


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_shared_weight_is_stored_once_and_stands_before_its_readers(
    names: tuple[str, str],
) -> None:
    weight = normal(4, 4)
    model = small(
        f"""net (float[n,4] x) => (float[n,4] y) {{
            [{names[0]}] t = MatMul(x, w)
            [{names[1]}] y = MatMul(t, w)
        }}""",
        {"w": weight},
    )
    grid = per_channel(weight)
    made = emitted(model, {constant("w", "a", "b"): grid})
    assert ops(made) == ["DequantizeLinear", "MatMul", "MatMul"]
    x, real = normal(3, 4, seed=1), fake_quantize(weight, grid)
    assert np.allclose(reference(made, {"x": x})["y"], x @ real @ real, rtol=1e-5, atol=1e-5)


def test_a_float_reader_keeps_the_float_weight() -> None:
    weight = normal(4, 4)
    model = small(
        """net (float[n,4] x) => (float[n,4] y, float[n,4] z) {
            [a] y = MatMul(x, w)
            [b] z = MatMul(x, w)
        }""",
        {"w": weight},
    )
    grid = per_channel(weight)
    found = reference(emitted(model, {constant("w", "a"): grid}), {"x": normal(3, 4, seed=1)})
    expected = reference(model, {"x": normal(3, 4, seed=1)})
    assert np.array_equal(found["z"], expected["z"])
    assert not np.array_equal(found["y"], expected["y"])


def test_a_bias_on_two_scales_is_stored_twice() -> None:
    bias, weights = normal(4, seed=2), (normal(3, 4), normal(3, 4, seed=1) * 8)
    text = """net (float[n,3] x) => (float[n,4] y, float[n,4] z) {
        [a] y = Gemm(x, v, b)
        [b] z = Gemm(x, w, b)
    }"""
    model = small(text, {"v": weights[0], "w": weights[1], "b": bias})
    grids = {
        Site("b", Own(INT32), "bias", "row", (reader,)): Grid(
            INT32, np.asarray(scale), np.zeros_like(scale, np.int32), 0
        )
        for reader, weight in zip("ab", weights, strict=True)
        if (scale := (X_GRID.scale * per_channel(weight).scale).astype(np.float32)) is not None
    }
    made = emitted(model, grids)
    codes = [t for t in made.graph.initializer if t.data_type == onnx.TensorProto.INT32 and t.dims]
    assert len({t.raw_data for t in codes if any(onnx.numpy_helper.to_array(t))}) == 2
    found, expected = (reference(m, random_feeds(model)) for m in (made, model))
    for name in "yz":
        assert np.abs(found[name] - expected[name]).max() < 1e-3


def test_one_grid_object_is_written_once() -> None:
    text = "net (float[n,3] x) => (float[n,3] y) { r = Relu(x)\n s = Neg(r)\n y = Abs(s) }"
    shared = emitted(small(text), {own("r"): X_GRID, own("s"): X_GRID})
    apart = emitted(small(text), {own("r"): X_GRID, own("s"): OTHER})
    assert len(shared.graph.initializer) == 2 and len(apart.graph.initializer) == 4


def test_every_new_node_names_its_rule_and_axis() -> None:
    model = small(
        "net (float[n,4] x) => (float[n,4] y) { [m] y = MatMul(x, w) }", {"w": normal(4, 4)}
    )
    made = emitted(model, {own("x", "m"): X_GRID, constant("w", "m"): per_channel(normal(4, 4))})
    rules = {n.name: [(p.key, p.value) for p in n.metadata_props] for n in made.graph.node}
    assert rules.pop("m") == []
    assert len(rules) == 3 and all(r == [("oq.rule", "row")] for r in rules.values())
    axes = {n.name: [a.i for a in n.attribute] for n in made.graph.node}
    assert axes["w_DequantizeLinear"] == [1] and axes["x_QuantizeLinear"] == []


def test_names_that_are_taken_are_avoided() -> None:
    text = """net (float[n,3] x) => (float[n,3] y) {
        [r_QuantizeLinear] r = Relu(x)
        [k] r_scale = Neg(r)
        r_quantized = Abs(r_scale)
        y = Neg(r_quantized)
    }"""
    made = emitted(small(text), {own("r"): X_GRID})
    x = normal(4, 3)
    expected = -fake_quantize(np.maximum(x, 0), X_GRID)
    assert np.array_equal(reference(made, {"x": x})["y"], expected)


# ---- laws

TEXT = """net (float[n,3,8,8] x) => (float[n,5] y, float[n,4,8,8] s) {
    a = Conv<pads = [1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    c = Conv<pads = [1,1,1,1]>(r, w2, b2)
    s = Add(c, r)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    y = Gemm<transB = 1>(f, w3, b3)
}"""
NET = small(
    TEXT,
    {
        "w1": normal(4, 3, 3, 3),
        "b1": normal(4),
        "w2": normal(4, 4, 3, 3),
        "b2": normal(4),
        "w3": normal(5, 4),
        "b3": normal(5),
    },
)


@pytest.mark.parametrize("target", registry.names("targets"))
def test_a_plan_without_sites_changes_nothing(target: str) -> None:
    profile = registry.target(target)
    graph = prepare(NET, profile.min_opset).graph
    before = graph.to_model()
    decided = plan(graph.view(), profile)
    assert decided.sites
    emit(graph, replace(decided, sites=()), Solution({}))
    assert_same_outputs(before, graph.to_model())
    assert ops(graph.to_model()) == ops(before)


@pytest.mark.parametrize("target", registry.names("targets"))
def test_the_same_job_gives_the_same_bytes(target: str) -> None:
    first, second = (quantize_fully(NET, target) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    onnx.checker.check_model(first, full_check=True)


PRINT_DIGEST = """
import hashlib, tests.emission.test_emit as t
made = t.quantize_fully(t.NET, "ort").SerializeToString(deterministic=True)
print(hashlib.sha256(made).hexdigest())
"""


def test_another_process_gives_the_same_bytes() -> None:
    """Sets and dicts of strings iterate differently under another hash seed."""
    made = quantize_fully(NET, "ort").SerializeToString(deterministic=True)
    roots = [Path(oq.__file__).parents[1], Path(__file__).parents[2]]
    for seed in ("1", "2"):
        paths = os.pathsep.join([*map(str, roots), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": paths}
        done = subprocess.run(
            [sys.executable, "-c", PRINT_DIGEST],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == hashlib.sha256(made).hexdigest()


@needs_real
@pytest.mark.parametrize("target", registry.names("targets"))
@pytest.mark.parametrize(
    "path",
    [
        CIFAR / "resnet20.onnx",
        CIFAR / "resnet20_torchscript_opset13.onnx",
        IMAGENET / "mobilenetv1_025.onnx",
    ],
    ids=lambda p: p.stem,
)
def test_real_models_emit_legal_files(path: Path, target: str) -> None:
    model = load_model(path)
    made = quantize_fully(model, target)
    onnx.checker.check_model(made, full_check=True)
    assert ops(made).count("DequantizeLinear") > ops(made).count("Conv")
    if (path.stem, target) == ("mobilenetv1_025", "dpu"):
        return  # one scale per tensor is too coarse for it before it is refined
    feeds = random_feeds(model)
    for name, values in reference(model, feeds).items():
        found = reference(made, feeds)[name]
        noise, signal = np.linalg.norm(found - values), np.linalg.norm(values)
        assert noise < signal  # unrelated values would be 1.4 times as far away


# ---- constants that no grid holds


@pytest.mark.parametrize("target", registry.names("targets"))
@pytest.mark.parametrize("damaged", [{"w": np.nan}, {"w": -np.inf}, {"k": np.inf}])
def test_a_layer_with_damaged_parameters_stays_in_float(
    target: str, damaged: dict[str, float]
) -> None:
    constants = {"w": normal(4, 4), "k": normal(4)}
    for name, value in damaged.items():
        constants[name][..., 2] = value
    model = small("net (float[n,4] x) => (float[n,4] y) { [m] y = Gemm(x, w, k) }", constants)
    profile = registry.target(target)
    (skip,) = plan(prepare(model, profile.min_opset).graph.view(), profile).skips
    assert skip.node == "m"
    assert skip.reason == f"constant {next(iter(damaged))!r} holds NaN or infinite values"
    assert_same_outputs(model, quantize_fully(model, target))


@pytest.mark.parametrize("target", registry.names("targets"))
def test_an_attention_mask_of_minus_infinity_masks(target: str) -> None:
    mask = np.asarray([0, -np.inf, 0, -np.inf], np.float32)
    text = "net (float[n,4] x) => (float[n,4] y) { t = Add(x, mask)\n y = Softmax(t) }"
    model = small(text, {"mask": mask})
    found = reference(quantize_fully(model, target), random_feeds(model))["y"]
    assert not found[:, [1, 3]].any()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=0.02)


@pytest.mark.parametrize("shape", [(), (1,), (1, 4), (4, 1), (4, 4)])
@pytest.mark.parametrize("target", registry.names("targets"))
def test_a_gemm_bias_of_another_shape(target: str, shape: tuple[int, ...]) -> None:
    """An int32 bias is one value per output channel; other shapes keep their values in float."""
    bias = np.asarray(np.resize(normal(16), shape), np.float32)
    model = small(
        "net (float[4,4] x) => (float[4,4] y) { y = Gemm(x, w, b) }", {"w": normal(4, 4), "b": bias}
    )
    made = quantize_fully(model, target)
    feeds = random_feeds(model)
    expected, found = reference(model, feeds)["y"], reference(made, feeds)["y"]
    assert np.abs(found - expected).max() < 0.1


@pytest.mark.parametrize("target", registry.names("targets"))
def test_a_weight_of_no_values_stays_as_it_is(target: str) -> None:
    constants = {"none": np.zeros((4, 0), np.float32), "w": normal(4, 4)}
    model = small(
        """net (float[n,4] x) => (float[n,4] y, float[n,0] e) {
            [cut] e = MatMul(x, none) c = Concat <axis = 1> (x, e) [m] y = MatMul(c, w)
        }""",
        constants,
    )
    made = oq.quantize(model, target, {"x": normal(8, 4)}, verify=False)
    reasons = {s.node: s.reason for s in made.report.plan.skips}
    assert reasons["cut"] == "constant 'none' holds no values"
    assert "m" not in reasons


@pytest.mark.parametrize("target", registry.names("targets"))
def test_a_layer_of_constants_that_cannot_be_folded_stays(target: str) -> None:
    model = small(
        "net (float[n,4] x) => (float[4,8] y, float[n,4] z) { [g] y = Gemm(k, w) z = Relu(x) }",
        {"k": normal(4, 3), "w": normal(4, 8)},
    )
    profile = registry.target(target)
    found = plan(prepare(model, profile.min_opset).graph.view(), profile)
    assert {s.node: s.reason for s in found.skips}["g"] == "'g' reads constants alone"
