"""TensorRT's plans and the numbers its rows are drawn at."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oq
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.planning import registry
from oq.planning.plan import plan
from oq.planning.target import Match, OpRule, with_options
from oq.planning.tensorrt import convolution_is_thin
from tests.golden import floats, kernels, sites
from tests.golden_trt import TRT
from tests.graphs import Net
from tests.small import reference


@pytest.mark.parametrize("name", TRT)
def test_golden(name: str) -> None:
    case = TRT[name]
    target = with_options(registry.target("trt"), case.options)
    found = plan(Graph(case.build()).view(), target, naive=case.naive)
    assert sites(found) == dict(case.golden.sites)
    assert kernels(found) == case.golden.kernels
    assert floats(found) == dict(case.golden.floats)


def test_fp8_is_what_the_file_says() -> None:
    """448 codes reach the largest value, the file loads and both readings agree."""
    model = TRT["fp8 dtype=fp8"].build()
    data = np.random.default_rng(0).normal(size=(16, 3, 64, 64)).astype(np.float32)
    done = oq.quantize(model, "trt", data, settings={"dtype": "fp8"})
    kept = {t.name: t for t in done.model.graph.initializer}
    codes = numpy_helper.to_array(kept["w_d_quantized"])
    assert codes.dtype == "float8_e4m3fn"
    assert np.abs(codes.astype(np.float32)).max(axis=(1, 2, 3)).min() == 448
    assert done.report.findings == () and done.model.opset_import[0].version >= 19
    assert done.report.verification is not None
    for reading in (done.report.verification.deployed, done.report.verification.literal):
        assert reading.outputs[0].sqnr_db > 20


def test_fp8_has_no_transposed_convolution() -> None:
    with pytest.raises(OptionError, match="supports neither FP8"):
        with_options(registry.target("trt"), {"dtype": "fp8", "conv_transpose": "int8"})


def test_four_bit_weights_are_what_the_file_says() -> None:
    """No data needed; every block of 128 inputs reaches its largest weight within half a step."""
    model = TRT["four_bit_weights weights=int4"].build()
    done = oq.quantize(model, "trt", settings={"weights": "int4"})
    assert done.report.findings == () and done.model.opset_import[0].version >= 21
    onnx.checker.check_model(done.model, full_check=True)
    kept = {t.name: numpy_helper.to_array(t) for t in done.model.graph.initializer}
    before = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for name, axis in (("w_p", 0), ("w_g", 1)):
        codes, scale = kept[f"{name}_quantized"], kept[f"{name}_scale"]
        assert codes.dtype == "int4" and codes.shape == before[name].shape
        real = codes.astype(np.float32) * np.repeat(scale, 128, axis)
        error = np.abs(real - before[name])
        assert (error <= np.repeat(scale, 128, axis) * 0.5001).all()
        assert np.abs(codes.astype(np.int8)).max() == 7
    x = np.random.default_rng(0).normal(size=(4, 32, 4, 4)).astype(np.float32)
    exact, found = reference(model, {"x": x})["q"], reference(done.model, {"x": x})["q"]
    assert ((found - exact) ** 2).mean() < (exact**2).mean() / 30
    assert oq.check(done.model, "trt", settings={"weights": "int4"}) == ()


def test_four_bit_weights_beside_fp16() -> None:
    model = TRT["four_bit_weights weights=int4"].build()
    settings = {"weights": "int4", "high_precision": "fp16"}
    made = oq.quantize(model, "trt", settings=settings).model
    kept = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    scales = [a for name, a in kept.items() if "_scale" in name]
    assert scales and all(a.dtype == np.float16 for a in scales)
    x = np.random.default_rng(0).normal(size=(4, 32, 4, 4)).astype(np.float32)
    exact, found = reference(model, {"x": x})["q"], reference(made, {"x": x})["q"]
    assert ((found - exact) ** 2).mean() < (exact**2).mean() / 30


@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "fp8", "weights": "int4"},
        {"weights": "int4", "dtype": "fp8"},
        {"weights": "int4", "attention": "int8"},
        {"attention": "int8", "weights": "int4"},
        {"weights": "int4", "conv_transpose": "int8"},
    ],
)
def test_options_that_do_not_go_together(settings: dict[str, str]) -> None:
    with pytest.raises(OptionError, match=r"int4|4-bit"):
        with_options(registry.target("trt"), settings)


@pytest.mark.parametrize(
    ("outputs", "inputs", "kernel", "group", "first", "fits"),
    [
        (16, 16, (1, 3), 1, False, True),  # wide enough on both sides
        (32, 8, (3, 3), 1, False, True),  # 8 and 32
        (32, 8, (1, 3), 1, False, False),  # not square
        (30, 10, (3, 3), 1, False, False),  # no multiple of 8
        (8, 8, (3, 3), 1, False, False),  # 16 on neither side
        (8, 3, (3, 3), 1, True, True),  # the first layer
        (8, 3, (3, 3), 1, False, False),
        (24, 1, (3, 3), 24, False, True),  # depthwise
        (24, 1, (3, 1), 24, False, False),
        (12, 1, (3, 3), 12, False, False),
        (32, 2, (5, 5), 16, False, True),
    ],
)
def test_thin_convolutions(
    outputs: int, inputs: int, kernel: tuple[int, int], group: int, first: bool, fits: bool
) -> None:
    """ModelOpt's ``find_nodes_from_convs_to_exclude``, case by case."""
    net = Net()
    x = net.input("x", ("n", inputs * group, 256, 256))
    data = x if first else net.node("Relu", [x], "r")
    c = net.node("Conv", [data, net.weight("w", outputs, inputs, *kernel)], "c", group=group)
    view = Graph(net.model(c)).view()
    match = Match(OpRule(("Conv",)), (view.node("n_c"),), (view.node("n_c"),))
    assert (convolution_is_thin(view, match) is None) == fits


def test_the_size_of_a_layer_decides_too() -> None:
    """The same thin layer on a small image, and on one of unknown size."""
    for size, fits in ((8, True), (256, False), ("h", False)):
        net = Net()
        x = net.node("Relu", [net.input("x", ("n", 8, size, size))], "r")
        view = Graph(net.model(net.node("Conv", [x, net.weight("w", 8, 8, 3, 3)], "c"))).view()
        match = Match(OpRule(("Conv",)), (view.node("n_c"),), (view.node("n_c"),))
        assert (convolution_is_thin(view, match) is None) == fits


@pytest.mark.parametrize(
    ("settings", "left"), [({"weights": "int4"}, 0), ({"dtype": "fp8"}, 1)], ids=["int4", "fp8"]
)
def test_refinement_takes_every_kind_of_weight(settings: dict[str, str], left: int) -> None:
    """Rounding with feedback is for integer codes, in blocks too; float8 is told."""
    model = TRT["four_bit_weights weights=int4"].build()
    data = np.random.default_rng(0).normal(size=(16, 32, 4, 4)).astype(np.float32)
    steps = "bias,ranges,equalize,round"
    done = oq.quantize(model, "trt", data, settings=settings, refine=steps)
    notes = [o.note for o in done.report.refinement if o.step == "round"]
    assert len(notes) == 1 and ("float8" in notes[0]) == left
