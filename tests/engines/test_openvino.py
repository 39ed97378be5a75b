"""OpenVINO: values against NumPy and onnxruntime, layers by name, and no usage reports."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq import cli
from oq.comparison.compare import compare
from oq.engines import openvino as module
from oq.engines.openvino import Compiled, count_kernels, runtime_layers
from oq.errors import DataError, MissingExtra, ModelError, OptionError, OqError
from oq.model.session import Settings
from oq.numerics.values import Batch
from tests.graphs import Net
from tests.real import CIFAR, IMAGENET, mobilenet, needs_real, resnet20, together
from tests.small import normal, reference, small

BUNDLED = Path(__file__).parents[2] / "models" / "bundled"
needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="openvino is not installed"
)


@cache
def quantized(name: str, target: str, *keep: str) -> onnx.ModelProto:
    calib = BUNDLED / "digits_calib.npz"
    model = BUNDLED / f"{name}.onnx"
    return oq.quantize(model, target, calib, verify=False, keep_float=keep).model


def matmul(axis: int) -> onnx.ModelProto:
    """``x @ w``, x through Q/DQ, w int8 with a scale per index of ``axis`` (0: the inner one)."""
    net = Net()
    net.constant("zero", 0, np.int8)
    net.constant("scale", 0.03)
    net.constant("codes", np.random.default_rng(0).integers(-127, 128, (8, 8)), np.int8)
    net.constant("scales", np.linspace(0.001, 0.02, 8))
    net.constant("zeros", np.zeros(8), np.int8)
    x = net.node("QuantizeLinear", [net.input("x", ("n", 8)), "scale", "zero"], "q")
    x = net.node("DequantizeLinear", [x, "scale", "zero"], "d")
    w = net.node("DequantizeLinear", ["codes", "scales", "zeros"], "w", axis=axis)
    return net.model(net.node("MatMul", [x, w], "y"))


# ---- running


@needs_openvino
def test_values_are_onnxruntimes_in_float32_by_output_name() -> None:
    """Products of 256 terms: bfloat16, which the plugin prefers where it can, is 1e-2 off."""
    text = """net (float[n,256] x, float[n,16] z) => (float[n,16] a, float[n,16] b) {
        m = MatMul(x, w)
        b = Add(m, z)
        a = Relu(m)
    }"""
    model = small(text, {"w": normal(256, 16)})
    feeds = {"x": normal(5, 256, seed=1), "z": normal(5, 16, seed=2)}
    expected = reference(model, feeds)
    loaded = Compiled(model, Settings())
    a, b = loaded.run(feeds)
    np.testing.assert_allclose(a, expected["a"], atol=1e-4)
    np.testing.assert_allclose(b, expected["b"], atol=1e-4)
    (only,) = loaded.run({k: v[:2] for k, v in feeds.items()}, ["b"])  # another batch size
    np.testing.assert_allclose(only, expected["b"][:2], atol=1e-4)
    np.testing.assert_allclose(b, expected["b"], atol=1e-4)  # not overwritten by the later run


@needs_openvino
def test_a_model_beyond_the_protobuf_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net (float[n,512] x) => (float[n,512] y) { y = Add(x, w) }"
    model = small(text, {"w": normal(512)})
    monkeypatch.setattr("oq.model.files.PROTOBUF_LIMIT", 10)
    (found,) = Compiled(model, Settings(threads=1)).run({"x": np.zeros((2, 512), np.float32)})
    assert np.array_equal(found, np.tile(normal(512), (2, 1)))


@needs_openvino
@pytest.mark.parametrize("target", ["ort", "trt"])
def test_the_deployed_reading_is_openvinos_and_the_literal_one_is_not(target: str) -> None:
    model = quantized("residual", target)
    x = np.load(BUNDLED / "digits_eval.npz")["input"][:40]
    found = compare(
        onnx.load(BUNDLED / "residual.onnx"), model, [Batch({"input": x})], engine="openvino",
        latency=False,
    )  # fmt: skip
    assert found.engine == "openvino"
    ran = Compiled(model, Settings()).run({"input": x})[0].astype(np.float64)
    literal = reference(model, {"input": x})["logits"].astype(np.float64)
    exact = reference(onnx.load(BUNDLED / "residual.onnx"), {"input": x})["logits"]
    for error, a, b in (
        (found.gap, ran, literal),
        (found.deployed.outputs, ran, exact),
        (found.literal.outputs, literal, exact),
    ):
        assert error[0].max_abs == pytest.approx(np.abs(a - b).max(), abs=1e-5)


@needs_openvino
def test_trt_style_means_the_same_to_openvino() -> None:
    """Nothing is fused across a Q/DQ pair.  In ort style it fuses the Add behind one into the
    convolution and then leaves out the rounding between the two."""
    data, float_model = BUNDLED / "digits_eval.npz", BUNDLED / "residual.onnx"
    gaps = {}
    for target in ("trt", "ort"):
        found = oq.verify(
            float_model, quantized("residual", target), data, engine="openvino", latency=False
        )
        assert found.deployed.outputs[0].sqnr_db > found.literal.outputs[0].sqnr_db - 1
        gaps[target] = found.gap[0].sqnr_db
    assert gaps["trt"] > gaps["ort"] + 10 and gaps["trt"] > 50


@needs_openvino
def test_a_requantization_that_onnxruntime_drops_is_done_by_openvino() -> None:
    net = Net()
    net.constant("zero", 0, np.int8)
    end = net.input("x", ("n", 6))
    for i, scale in enumerate((0.03, 0.05)):
        grid = [net.constant(f"s{i}", scale), "zero"]
        codes = net.node("QuantizeLinear", [end, *grid], f"q{i}")
        end = net.node("DequantizeLinear", [codes, *grid], f"d{i}")
    twice, once = net.model(end), Net()
    exact = once.model(once.node("Identity", [once.input("x", ("n", 6))], end))
    x = np.random.default_rng(0).uniform(-3, 3, (200, 6)).astype(np.float32)

    def differ(engine: str) -> bool:
        batches = [Batch({"x": x})]
        return compare(exact, twice, batches, engine=engine, latency=False).readings_differ

    assert differ("onnxruntime") and not differ("openvino")


# ---- what runs in integers


@needs_openvino
@pytest.mark.parametrize("target", ["ort", "trt"])
@pytest.mark.parametrize(("name", "layers"), [("residual", 9), ("separable", 10)])
def test_every_layer_runs_in_int8(name: str, layers: int, target: str) -> None:
    """Those too that onnxruntime runs faster in float, and ``ort`` leaves there."""
    data = BUNDLED / "digits_calib.npz"
    made = oq.quantize(BUNDLED / f"{name}.onnx", target, data, mode="naive", verify=False)
    found = count_kernels(made.model)
    assert (found.integer, found.floating, found.left) == (layers, 0, ())
    assert found.counted == "heavy ops"


@needs_openvino
def test_a_float_model_has_none_and_names_all() -> None:
    model = onnx.load(BUNDLED / "residual.onnx")
    found = count_kernels(model)
    heavy = [n.name for n in model.graph.node if n.op_type in {"Conv", "Gemm"}]
    assert (found.integer, found.floating) == (0, 9)
    assert [text.partition(" ")[0] for text in found.left] == heavy
    assert found.left[0].endswith(" (Convolution in f32)")
    assert found.ops["Convolution f32"] == 8 and found.ops["FullyConnected f32"] == 1


@needs_openvino
def test_a_layer_kept_in_float_is_told_by_its_name() -> None:
    model = onnx.load(BUNDLED / "residual.onnx")
    third = [n.name for n in model.graph.node if n.op_type == "Conv"][2]
    found = count_kernels(quantized("residual", "trt", third))
    assert (found.integer, found.left) == (8, (f"{third} (Convolution in f32)",))


@needs_openvino
def test_attention_that_became_one_layer_is_not_forgotten() -> None:
    """OpenVINO's graph shows 20 heavy layers; the file's 6 products of attention are inside others,
    three of them under no name of their own."""
    model = quantized("transformer", "trt")
    found = count_kernels(model)
    products = [n.name for n in model.graph.node if n.name.startswith("node_matmul")]
    assert len(products) == 6
    assert (found.integer, found.floating) == (20, 6)
    assert found.left == tuple(f"{name} (Subgraph in f32)" for name in products)


@needs_openvino
def test_int8_weights_alone_do_not_make_a_layer_int8() -> None:
    """Scales along the inner axis cannot leave the sum; OpenVINO then decompresses the weights and
    says "i8" all the same."""
    outer, inner = count_kernels(matmul(1)), count_kernels(matmul(0))
    assert (outer.integer, outer.left) == (1, ())
    assert (inner.integer, inner.left) == (0, ("n_y (FullyConnected in f32)",))
    ops = module._compile(matmul(0), 0).get_runtime_model().get_ordered_ops()
    said = {o.rt_info["layerType"].value: o.rt_info["runtimePrecision"].value for o in ops}
    assert said["FullyConnected"] == "i8"


@needs_openvino
def test_nodes_without_names_go_by_their_outputs() -> None:
    net = Net()
    turned = net.node("ConvTranspose", [net.conv(net.input("x"), "c"), net.weight("w", 4, 4, 2, 2)],
                      "t")  # fmt: skip
    model = net.model(net.node("Relu", [turned], "r"))
    for node in model.graph.node:
        node.name = ""
    assert count_kernels(model).left == ("c (Convolution in f32)", "t (Deconvolution in f32)")


@needs_openvino
def test_heavy_layers_made_of_other_ops_count_too() -> None:
    text = 'net (float[n,4,8] x) => (float[n,4,8] y) { y = Einsum<equation = "nij,jk->nik">(x, w) }'
    found = count_kernels(small(text, {"w": normal(8, 8)}))
    assert found.floating == 1 and found.left[0].endswith(" in f32)")


@needs_openvino
def test_layers_tell_what_they_were_made_from() -> None:
    net = Net()
    layers = runtime_layers(net.model(net.node("Relu", [net.conv(net.input("x"), "c")], "r")))
    (conv,) = (layer for layer in layers if layer.kind == "Convolution")
    assert {"n_c", "r"} <= set(conv.made_from) and conv.precision == "f32"


RESNET = (resnet20, CIFAR / "resnet20.onnx", CIFAR / "calib.npz", None)
MOBILENET = (mobilenet, IMAGENET / "mobilenetv1_025.onnx", IMAGENET / "calib", "imagenet-tf")
Real = tuple[Callable[[str], oq.Result], Path, Path, str | None]


@needs_real
@needs_openvino
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "target", "layers"),
    [
        pytest.param(model, target, layers, id=f"{name}-{target}", marks=together(name, target))
        for name, model, target, layers in (
            ("resnet20", RESNET, "trt", 20),
            ("resnet20", RESNET, "ort", 22),
            ("mobilenet", MOBILENET, "trt", 28),
            ("mobilenet", MOBILENET, "ort", 26),
        )
    ],
)
def test_every_layer_of_a_real_model(model: Real, target: str, layers: int) -> None:
    """All that the plan quantizes runs in integers, and all it leaves in float is what is left.

    For `ort` ResNet-20's two shortcuts become convolutions (22 layers of 20),
    and MobileNet's first two stay in float because they would run slower.
    """
    make, path, calib, preset = model
    made = make(target)
    found = oq.verify(
        path, made.model, calib, samples=16, preprocess=preset, engine="openvino", latency=False
    )
    skipped = {skip.node for skip in made.report.plan.skips if skip.op == "Conv"}
    assert found.kernels.integer == layers
    assert {name.split(" (")[0] for name in found.kernels.left} == skipped
    assert target == "ort" or not found.readings_differ


# ---- what cannot be done


@needs_openvino
def test_a_model_openvino_cannot_load() -> None:
    model = small("net (float[n] x) => (float[n] y) { y = com.example.Mystery(x) }")
    said = r"OpenVINO cannot load the model: .*com\.example\.Mystery"
    with pytest.raises(ModelError, match=said) as caught:
        Compiled(model, Settings())
    assert "\n" not in str(caught.value) and ".cpp" not in str(caught.value)


@needs_openvino
def test_a_batch_that_fails() -> None:
    loaded = Compiled(small("net (float[n] x) => (float[n] y) { y = Neg(x) }"), Settings())
    with pytest.raises(DataError, match=r"OpenVINO fails on a batch: .*name z") as caught:
        loaded.run({"z": normal(3)})
    assert "\n" not in str(caught.value)


@needs_openvino
def test_float64_inputs_are_refused_with_what_helps() -> None:
    text = """net (double[n,8] x) => (double[n,4] y) {
        a = MatMul(x, w) r = Relu(a) y = MatMul(r, v) }"""
    weights = {"w": normal(8, 8).astype(np.float64), "v": normal(8, 4).astype(np.float64)}
    x = normal(16, 8).astype(np.float64)
    with pytest.raises(ModelError, match="export the model with float32 inputs"):
        oq.quantize(small(text, weights), "openvino", {"x": x}, refine="none")


@needs_openvino
def test_strings_are_refused_before_they_end_the_process() -> None:
    model = small("net (string[n] x) => (string[n] y) { y = Identity(x) }")
    with pytest.raises(ModelError, match="OpenVINO cannot load the model: input 'x' holds strings"):
        Compiled(model, Settings())


def test_a_provider_is_refused() -> None:
    with pytest.raises(OptionError, match=r"--provider cuda is onnxruntime's; --engine openvino"):
        Compiled(
            small("net (float[n] x) => (float[n] y) { y = Neg(x) }"), Settings(provider="cuda")
        )


@needs_openvino
def test_the_command_line_tells_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(quantized("transformer", "trt"), tmp_path / "q.onnx")
    files = (BUNDLED / "transformer.onnx", tmp_path / "q.onnx", "-d", BUNDLED / "digits_eval.npz")
    command = ["oq", "verify", *map(str, files), "--samples", "24", "--engine", "openvino"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    text = capsys.readouterr().out
    assert "kernels     20 of 26 heavy ops in integers (77 %) in openvino\n" in text
    assert text.count("in float: node_matmul") == 6 and " batch 8) in openvino" in " ".join(
        text.split()
    )
    monkeypatch.setattr(sys, "argv", [*command, "--json"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    found = json.loads(capsys.readouterr().out)
    assert found["engine"] == "openvino" and found["latency"]["ratio"] > 0
    assert found["kernels"]["counted"] == "heavy ops" and len(found["kernels"]["left"]) == 6
    assert found["deployed"]["classes"][0]["top1"] >= 90


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "openvino", None)
    module._import.cache_clear()
    yield
    module._import.cache_clear()


def test_a_broken_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb.so.12 is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    module._import.cache_clear()
    with pytest.raises(OqError, match=r"cannot be imported: libtbb\.so\.12 is missing; install it"):
        module._import()


def test_without_the_package(without_openvino: None, capsys: pytest.CaptureFixture[str],
                             monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    model = str(BUNDLED / "residual.onnx")
    with pytest.raises(MissingExtra):
        oq.verify(model, model, BUNDLED / "digits_eval.npz", engine="openvino")
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "oq",
            "verify",
            model,
            model,
            "-d",
            str(BUNDLED / "digits_eval.npz"),
            "--engine",
            "openvino",
        ],
    )
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "oq: --engine openvino needs openvino, which is not installed: pip install openvino"
    )


@needs_openvino
def test_nothing_is_reported_to_anyone(tmp_path: Path) -> None:
    """A plain ``import openvino`` writes an id into the home folder and sends a usage event."""
    code = (
        "import sys\nfrom oq.engines.openvino import _import\n"
        "assert hasattr(_import(), 'Core')\n"
        "print([m for m in sys.modules if m.startswith('openvino_telemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "HOME": str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "intel").exists()


@needs_openvino
def test_an_input_that_nothing_reads_is_no_port_and_is_fed_nowhere() -> None:
    model = small("net (float[n,3] x, float[n,3] unread) => (float[n,3] y) { y = Tanh(x) }")
    feeds = {"x": normal(2, 3), "unread": normal(2, 3, seed=1)}
    (found,) = Compiled(model, Settings()).run(feeds)
    np.testing.assert_allclose(found, np.tanh(feeds["x"]), rtol=1e-5)
