"""``oq deploy --to coreml`` from the file to the package: proofs, names, options, refusals."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq.artifacts.mlpackage.package import open_file
from oq.errors import MissingExtra, ModelError, OptionError
from oq.model.session import Session, Settings
from tests.command import commands
from tests.graphs import Net

MLModel = pytest.importorskip("coremltools").models.MLModel

BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"


def made(model: onnx.ModelProto | Path, path: Path) -> Path:
    """The Q/DQ file of ``model`` for Core ML, on random data."""
    result = oq.quantize(model, "coreml", "random", samples=4, refine="none", verify=False)
    result.save(path)
    return path


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(BUNDLED / "residual.onnx", tmp_path_factory.mktemp("q") / "residual.int8.onnx")


@pytest.mark.parametrize("name", ["separable", "transformer"])
def test_bundled_models_deploy(name: str, tmp_path: Path) -> None:
    file = made(BUNDLED / f"{name}.onnx", tmp_path / "m.onnx")
    found = oq.deploy(file, "coreml")
    assert [p.passed for p in found.proofs] == [True] * 5
    assert "0 % differ" in found.proofs[-1].figures  # float32: the arithmetic of onnxruntime


def test_every_pair_is_in_the_package_by_its_name(residual: Path, tmp_path: Path) -> None:
    oq.deploy(residual, "coreml", tmp_path / "m.mlpackage", precision="float32")
    package = open_file(tmp_path / "m.mlpackage")
    nodes = [n for n in onnx.load(residual).graph.node if n.op_type == "QuantizeLinear"]
    names = {q.output for q in package.quantizers() if q.kind == "quantize"}
    assert {package.tensors.get(n.output[0], n.output[0]) for n in nodes} == names
    assert [i.name for i in package.inputs] == ["input"]


def test_an_output_may_end_in_a_pair(tmp_path: Path) -> None:
    """As other tools write it; in float16 the output is a cast behind the pair."""
    net = Net()
    net.conv(net.input("x", (1, 4, 8, 8)), "y")
    made(net.model("y"), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.node[-1].output[0] = "y_real"
    grid = [onnx.numpy_helper.from_array(np.array(1 / 32, np.float32), "s"),
            onnx.numpy_helper.from_array(np.array(0, np.int8), "z")]  # fmt: skip
    model.graph.initializer.extend(grid)
    for op, source, output in (("Quantize", "y_real", "y_q"), ("Dequantize", "y_q", "y")):
        node = onnx.helper.make_node(f"{op}Linear", [source, "s", "z"], [output], f"y_{op}")
        model.graph.node.append(node)
    found = oq.deploy(model, "coreml", tmp_path / "m.mlpackage", samples=1)
    assert all(p.passed for p in found.proofs)
    assert "4 Q and DQ" in found.proofs[0].figures


def test_same_file_same_bytes(residual: Path, tmp_path: Path) -> None:
    folders = [tmp_path / f"{i}.mlpackage" for i in range(2)]
    for folder in folders:
        oq.deploy(residual, "coreml", folder, samples=1)
    one, other = ({f.relative_to(d): f.read_bytes() for f in d.rglob("*") if f.is_file()}
                  for d in folders)  # fmt: skip
    assert one == other and len(one) == 3


def test_older_systems_get_their_operator(residual: Path, tmp_path: Path) -> None:
    for ios, version, kind in ((17, 8, "constexpr_affine_dequantize"),
                               (18, 9, "constexpr_blockwise_shift_scale")):  # fmt: skip
        path = tmp_path / f"{ios}.mlpackage"
        oq.deploy(residual, "coreml", path, ios=ios, samples=1)
        package = open_file(path)
        assert package.description.version == version
        assert {w.kind for w in package.weights()} == {kind}


def test_an_image_is_turned_into_the_values_of_the_model(tmp_path: Path) -> None:
    net = Net()
    x = net.input("x", ("n", 3, 8, 8))
    names = [x, net.weight("w", 4, 3, 3, 3), net.weight("b", 4)]
    file = made(_headed(net, net.node("Conv", names, "c")), tmp_path / "m.onnx")
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\nowl\n")
    told = oq.deploy(file, "coreml", image_input=True, preprocess="imagenet", labels=labels)
    assert len(told.proofs) == 6
    assert told.proofs[3].what == "3 labels, and those of 4 samples"
    plain = tmp_path / "image.mlpackage"
    oq.deploy(file, "coreml", plain, image_input=True, preprocess="imagenet", precision="float32")
    package = open_file(plain)
    assert package.description.inputs[0].image == "RGB"
    spec = MLModel(told.output, skip_model_load=True).get_spec()
    assert spec.description.predictedFeatureName == "classLabel"
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8)).astype(np.float32)
    mean, std = (np.array(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406),
                                                       (0.229, 0.224, 0.225)))  # fmt: skip
    values = ((pixels / 255 - mean) / std).astype(np.float32)
    exact = Session(onnx.load(file), Settings(reading="literal")).run({"x": values})
    np.testing.assert_allclose(package.run({"x": pixels})[0], exact[0], atol=0.03)


def _headed(net: Net, image: str) -> onnx.ModelProto:
    pooled = net.node("GlobalAveragePool", [image], "p")
    net.gemm(net.node("Flatten", [pooled], "f"), "y")
    return net.model("y")


def test_moves_through_six_axes_become_one(tmp_path: Path) -> None:
    net = Net()
    image = net.conv(net.input("x", (1, 4, 8, 8)), "a")
    parts = net.constant("parts", [1, 2, 2, 4, 4, 4], np.int64)
    back = net.constant("back", [1, 4, 8, 8], np.int64)
    apart = net.node("Reshape", [image, parts], "b")
    turned = net.node("Transpose", [apart], "t", perm=[0, 2, 1, 3, 5, 4])
    net.conv(net.node("Reshape", [turned, back], "d"), "y")
    file = made(net.model("y"), tmp_path / "m.onnx")
    assert all(p.passed for p in oq.deploy(file, "coreml").proofs)


def test_masks_stay_finite_in_float16(tmp_path: Path) -> None:
    """0 times an infinite mask would be NaN."""
    net = Net()
    scores = net.conv(net.input("x", (1, 4, 8, 8)), "a")
    hidden = net.node("Mul", [net.input("hide", (1, 1, 1, 8)),
                              net.constant("least", np.finfo(np.float32).min)], "h")  # fmt: skip
    masked = net.node("Add", [scores, hidden], "m")
    net.conv(net.node("Softmax", [masked], "s", axis=-1), "y")
    file = made(net.model("y"), tmp_path / "m.onnx")
    data = tmp_path / "d.npz"
    hide = np.tile(np.array([0, 1] * 4, np.float32), (2, 1, 1, 1))
    np.savez(data, x=np.random.default_rng(0).normal(0, 1, (2, 4, 8, 8)), hide=hide)
    oq.deploy(file, "coreml", data=data)
    package = open_file(tmp_path / "m.mlpackage")
    feeds = {"x": np.ones((1, 4, 8, 8), np.float32), "hide": hide[:1]}
    assert np.isfinite(package.run(feeds)[0]).all()


def test_what_float16_does_not_hold_is_refused(tmp_path: Path) -> None:
    net = Net()
    wide = net.node("Mul", [net.node("Relu", [net.conv(net.input("x", (1, 4, 8, 8)), "a")], "r"),
                            net.constant("k", 1e6)], "m")  # fmt: skip
    net.conv(wide, "y")
    file = made(net.model("y"), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"'m' reaches .*beyond float16's 65504: --precision"):
        oq.deploy(file, "coreml")
    assert oq.deploy(file, "coreml", precision="float32").proofs[1].passed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ios": 16}, "--ios 16; available: 17, 18"),
        ({"precision": "int8"}, "available: float16, float32"),
        ({"image_input": True}, "--image-input needs --preprocess"),
        (
            {"image_input": True, "preprocess": "imagenet"},
            "'input' is batchx1x8x8; an image in rgb",
        ),
        ({"labels": Path(__file__)}, "lines; output 'logits' is batchx10"),
        ({"weights_only": "int3"}, "iOS 18 has int8, int4, palette2"),
    ],
    ids=str,
)
def test_options_are_refused_in_one_line(
    residual: Path, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(OptionError) as error:
        oq.deploy(residual, "coreml", tmp_path / "m.mlpackage", **options)  # type: ignore[arg-type]
    assert said in str(error.value)
    assert not any(tmp_path.iterdir())


def test_without_coremltools_there_is_one_line(
    residual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingExtra, match=r"pip install coremltools"):
        oq.deploy(residual, "coreml", tmp_path / "m.mlpackage")


def test_a_collapsed_package_is_told_of_in_words(
    residual: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Against a float model with the last layer negated; a package has no ONNX metadata to read."""
    oq.deploy(residual, "coreml", tmp_path / "m.mlpackage", samples=1)
    model = onnx.load(BUNDLED / "residual.onnx")
    weight = next(t for t in model.graph.initializer if len(t.dims) == 2)
    weight.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weight), weight.name))
    onnx.save(model, tmp_path / "negated.onnx")
    call = commands(monkeypatch, capsys)
    data = BUNDLED / "digits_eval.npz"
    words = (tmp_path / "negated.onnx", tmp_path / "m.mlpackage", "-d", data, "--samples", "16")
    found = call("verify", *words)
    assert found.code == 1, found.err
    assert "FAIL collapsed: output 'logits'" in found.out
