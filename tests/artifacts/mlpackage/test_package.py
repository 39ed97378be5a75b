"""A package in the place of its ONNX file: names, types, figures, damage, and ``oq verify``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import oq
from oq.artifacts.artifact import Artifact, open_artifact
from oq.artifacts.mlpackage.package import open_file
from oq.errors import ModelError
from oq.model.session import Session, Settings
from tests.graphs import Net
from tests.mil import (
    WEIGHTS,
    block_of,
    ct,
    edit_model,
    save_package,
    small_image,
    small_package,
)

NAMES = {
    "oq.inputs": json.dumps(["image:0"]),
    "oq.outputs": json.dumps(["the/result"]),
    "oq.tensors": json.dumps({"image_quantized": "xq"}),
}


def twin() -> onnx.ModelProto:
    """The Q/DQ graph that :func:`small_package` is, made apart from it."""
    random = np.random.default_rng(0)
    codes = random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    scales = random.uniform(0.002, 0.01, 4).astype(np.float32)
    net = Net()
    pair = [net.constant("s", 0.05), net.constant("z", 0, np.int8)]
    wide = [net.constant("s2", 0.02), net.constant("z2", 3, np.uint8)]
    x = net.input("image:0", (1, 3, 6, 6))
    q = net.node("QuantizeLinear", [x, *pair], "xq")
    stored = [net.constant("wq", codes, np.int8), net.constant("ws", scales)]
    weight = net.node("DequantizeLinear", stored, "w", axis=0)
    bias = net.constant("b", np.arange(4) / 10)
    inputs = [net.node("DequantizeLinear", [q, *pair], "xd"), weight, bias]
    y = net.node("Relu", [net.node("Conv", inputs, "c", pads=[1] * 4)], "r")
    y = net.node("QuantizeLinear", [y, *wide], "yq")
    net.node("DequantizeLinear", [y, *wide], "the/result")
    model = net.model("the/result")
    for name, dtype, channels in (("xq", TensorProto.INT8, 3), ("yq", TensorProto.UINT8, 4)):
        model.graph.output.append(helper.make_tensor_value_info(name, dtype, (1, channels, 6, 6)))
    return model


@pytest.mark.parametrize("ios", [17, 18])
@pytest.mark.parametrize("half", [False, True])
def test_it_computes_what_onnxruntime_computes(ios: int, half: bool, tmp_path: Path) -> None:
    path = small_package(tmp_path / "m.mlpackage", ios=ios, half=half, metadata=NAMES)
    package = open_file(path)
    assert isinstance(open_artifact(path), Artifact)
    assert [i.name for i in package.inputs] == ["image:0"]
    assert [o.name for o in package.outputs] == ["the/result"]
    session = Session(twin(), Settings(reading="literal", spin=False))
    end = "_cast_fp16" if half else ""
    for seed in range(4):
        feeds = {"image:0": small_image(seed)}
        first, codes, exact = session.run(feeds, ["xq", "yq", "the/result"])
        names = [f"xq{end}", f"yq{end}", "the/result"]
        own, found, result = package.run(feeds, names, {names[0]: first})
        assert result.dtype == np.float32
        for one, other in ((own, first), (found, codes)):
            apart = np.abs(one.astype(int) - other)
            assert apart.max() <= half and (apart > 0).mean() < 0.03
        assert np.abs(result - exact).max() < (0.021 if half else 1e-5)


def test_its_figures(tmp_path: Path) -> None:
    package = open_artifact(small_package(tmp_path / "m.mlpackage", half=True, metadata=NAMES))
    told = package.contents()
    assert told.format == package.format == "coreml"
    assert told.bytes == sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file())
    assert told.facts["specification"] == "9 (iOS 18 and later)"
    assert told.ops["conv"] == 1 and told.ops["quantize"] == 2 and "const" not in told.ops
    assert told.constants == {"int8": 4 * 3 * 3 * 3}
    assert [(g.dtype, g.zero_point) for g in told.activations] == [
        ("int8", (0, 0)),
        ("uint8", (3, 3)),
    ]
    (weight,) = told.weights
    assert weight.scales == 4 and weight.scale is not None
    assert weight.scale[0] < weight.scale[1]
    assert package.integer_layers() == (1, 0)


def test_a_layer_behind_float_is_no_integer_layer(tmp_path: Path) -> None:
    weight = np.ones((2, 3, 1, 1), np.float32)

    def body(mb: Any, x: Any) -> Any:
        return mb.conv(x=x, weight=weight)

    package = open_file(save_package(tmp_path / "m.mlpackage", body, {"x": (1, 3, 4, 4)}))
    assert package.integer_layers() == (0, 1)


def test_types_of_the_onnx_file_come_back(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        return mb.reduce_argmax(x=x, axis=-1, name="y")

    types = {"oq.types": json.dumps({"x": "float32", "y": "int64"})}
    path = save_package(tmp_path / "m.mlpackage", body, {"x": (2, 5)}, metadata=types)
    package = open_file(path)
    x = np.random.default_rng(0).normal(0, 1, (2, 5)).astype(np.float32)
    (found,) = package.run({"x": x})
    assert package.outputs[0].dtype == "int64"
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, x.argmax(1))


def test_a_classifier_gives_its_probabilities(tmp_path: Path) -> None:
    def body(mb: Any, x: Any) -> Any:
        return mb.softmax(x=x, axis=-1, name="scores")

    path = save_package(
        tmp_path / "m.mlpackage",
        body,
        {"x": (1, 3)},
        classifier_config=ct.ClassifierConfig(["cat", "dog", "owl"]),
        metadata={"oq.inputs": '["x"]', "oq.outputs": "[]", "oq.tensors": '{"p": "scores"}'},
    )
    package = open_file(path)
    assert "classify" in package.contents().ops
    assert [o.name for o in package.outputs] == ["p"]
    x = np.array([[1.0, 3.0, 2.0]], np.float32)
    (found,) = package.run({"x": x})
    np.testing.assert_allclose(found, np.exp(x) / np.exp(x).sum(), rtol=1e-6)
    label = package.description.labels[0]
    assert package.run({"x": x}, [label])[0] == "dog"


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"oq.inputs": "{"}, "'oq.inputs' is not JSON"),
        ({"oq.inputs": "{}"}, "'oq.inputs' is not a list of names"),
        ({"oq.outputs": '["a", "b"]'}, "'oq.outputs' name 2, the package has 1"),
        ({"oq.tensors": "[]"}, "'oq.tensors' maps no names"),
    ],
)
def test_metadata_that_are_damaged(metadata: dict[str, str], said: str, tmp_path: Path) -> None:
    path = small_package(tmp_path / "m.mlpackage", metadata=metadata)
    with pytest.raises(ModelError, match=said):
        open_file(path)


def _scale(package: Path) -> None:
    def edit(model: Any) -> None:
        for operation in block_of(model).operations:
            if operation.outputs and operation.outputs[0].name == "xq_scale_0":
                operation.attributes["val"].immediateValue.tensor.floats.values[0] *= 1.03

    edit_model(package, edit)


def _code(package: Path) -> None:
    raw = bytearray((package / WEIGHTS).read_bytes())
    raw[128] ^= 0x40
    (package / WEIGHTS).write_bytes(bytes(raw))


@pytest.mark.parametrize("spoil", [_scale, _code])
def test_one_changed_number_is_seen(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = small_package(tmp_path / "m.mlpackage", metadata=NAMES)
    feeds = {"image:0": small_image()}
    whole = open_file(path)
    spoil(path)
    spoilt = open_file(path)
    before = [
        (q.scale.item(), w.codes.tobytes()) for q in whole.quantizers()[:1] for w in whole.weights()
    ]
    after = [
        (q.scale.item(), w.codes.tobytes())
        for q in spoilt.quantizers()[:1]
        for w in spoilt.weights()
    ]
    assert before != after
    assert (whole.run(feeds)[0] != spoilt.run(feeds)[0]).any()


def test_oq_verify_takes_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    codes = random.integers(-127, 128, (4, 3, 3, 3)).astype(np.float32)
    scales = random.uniform(0.002, 0.01, 4).astype(np.float32)
    net = Net()
    weight = net.constant("w", codes * scales.reshape(-1, 1, 1, 1))
    inputs = [net.input("image:0", (1, 3, 6, 6)), weight, net.constant("b", np.arange(4) / 10)]
    net.node("Relu", [net.node("Conv", inputs, "c", pads=[1] * 4)], "the/result")
    onnx.save(net.model("the/result"), tmp_path / "m.onnx")
    images = np.concatenate([small_image(seed) for seed in range(4)])
    np.savez(tmp_path / "data.npz", **{"image:0": images / 4})  # type: ignore[arg-type]
    path = small_package(tmp_path / "m.mlpackage", half=True, metadata=NAMES)
    found = oq.verify(tmp_path / "m.onnx", path, tmp_path / "data.npz")
    (error,) = found.deployed.outputs
    assert 28 < error.sqnr_db < 60
    assert found.engine == "coreml file"
