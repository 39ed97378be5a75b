"""``--to xmodel`` as a user meets it: what is printed, and whole models."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq.artifacts.artifact import open_artifact
from oq.artifacts.xmodel.reader import XmodelFile
from oq.deployment.xmodel.proofs import parameters_of, structure_of
from oq.model.files import load_model
from oq.numerics.values import Array
from tests.deployment.test_models import SOAK
from tests.graphs import Net
from tests.light import HUGE, light, narrow
from tests.real import CIFAR, IMAGENET, mobilenet, needs_real, resnet20, together
from tests.xmodels import feeds_of, image, lenet, quantized, saved, simulated, write

BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"

FIX = ("bit_width 8", "if_signed True", "round_mode DPU_ROUND")
CONV = ("dilation (1, 1)", "group 1", "kernel (5, 5)", "pad (0, 0, 0, 0)", "pad_mode FLOOR")
POOL = ("global False", "kernel (2, 2)", "pad (0, 0, 0, 0)", "pad_mode FLOOR", "stride (2, 2)")
PRODUCT = ("transpose_a False", "transpose_b True")


def parameter(*dims: int) -> list[tuple[str, tuple[int, ...], tuple[str, ...]]]:
    own = ("data_type float32", f"shape {dims}")
    return [("const", dims, own), ("fix", dims, FIX)]


def rounded(kind: str, dims: tuple[int, ...], *attributes: str) -> list[tuple[object, ...]]:
    return [(kind, dims, attributes), ("fix", dims, FIX)]


def activated(kind: str, dims: tuple[int, ...], *attributes: str) -> list[tuple[object, ...]]:
    return [(kind, dims, attributes), *rounded("relu", dims)]


LENET = [
    *rounded("data", (1, 32, 32, 3), "data_type FLOAT32", "shape (1, 32, 32, 3)"),
    *(*parameter(6, 5, 5, 3), *parameter(6)),
    *activated("conv2d", (1, 28, 28, 6), *CONV, "stride (1, 1)"),
    *rounded("maxpool2d", (1, 14, 14, 6), *POOL),
    *(*parameter(16, 5, 5, 6), *parameter(16)),
    *activated("conv2d", (1, 10, 10, 16), *CONV, "stride (1, 1)"),
    *rounded("maxpool2d", (1, 5, 5, 16), *POOL),
    ("reshape", (1, 400), ("shape (1, 400)",)),
    *(*parameter(120, 400), *parameter(120)),
    *activated("matmul", (1, 120), *PRODUCT),
    *(*parameter(84, 120), *parameter(84)),
    *activated("matmul", (1, 84), *PRODUCT),
    *(*parameter(10, 84), *parameter(10)),
    *rounded("matmul", (1, 10), *PRODUCT),
]
"""The 41 ops of LeNet as AMD's quantizer writes them, the shape operand of its reshape apart:
type, shape, attributes but for values and positions."""


def test_lenet_has_the_structure_that_amd_s_quantizer_gives_it() -> None:
    net = Net()
    net.input("x", ("n", 3, 32, 32))
    for i, (data, wide, deep) in enumerate((("x", 3, 6), ("p0", 6, 16))):
        names = [data, net.weight(f"w{i}", deep, wide, 5, 5), net.weight(f"b{i}", deep)]
        net.node("Conv", names, f"c{i}")
        net.node("Relu", [f"c{i}"], f"r{i}")
        net.node("MaxPool", [f"r{i}"], f"p{i}", kernel_shape=[2, 2], strides=[2, 2])
    net.node("Flatten", ["p1"], "f")
    for i, (data, wide, deep) in enumerate((("f", 400, 120), ("r2", 120, 84), ("r3", 84, 10)), 2):
        names = [data, net.weight(f"w{i}", deep, wide), net.weight(f"b{i}", deep)]
        net.node("Gemm", names, f"g{i}", transB=1)
        if i < 4:
            net.node("Relu", [f"g{i}"], f"r{i}")
    made = write(quantized(net.model("g4"))).read()
    left_out = {"data", "fix_point"}
    found = [
        (
            *(op.type, op.dims),
            tuple(sorted(f"{k} {a.value}" for k, a in op.attributes.items() if k not in left_out)),
        )
        for op in made.graph.ops
    ]
    assert found == LENET and len(found) == 41


def test_what_is_printed(tmp_path: Path) -> None:
    found = oq.deploy(saved(lenet(), tmp_path), "xmodel")
    text = " ".join(str(found).split())
    opened = open_artifact(found.output)
    assert isinstance(opened, XmodelFile)
    point = {op.reads()[0]: op.get("fix_point") for op in opened.graph.ops if op.type == "fix"}["x"]
    assert f"'x' NHWC 1x8x6x1, int8: value * 2^{point} (fix_point {point})" in text
    assert "output 'y' as op n_y_fix, 1x10, int8: value = code * 2^" in text
    assert "ops obey the loader's rules" in text
    assert "tensors equal those of the DPU simulation on 4 samples" in text
    assert found.next_step == (f"vai_c_xir -x {found.output} -a arch.json -o compiled -n m.int8")
    assert found.notes == ()


def test_what_the_cpu_runs_is_told(tmp_path: Path) -> None:
    net, _ = image()
    net.conv("x", "c")
    net.node("Sigmoid", ["c"], "y")
    found = oq.deploy(saved(quantized(net.model("y")), tmp_path), "xmodel")
    assert found.notes == ("the CPU runs sigmoid x 1; each splits what the DPU runs into parts",)
    assert found.proofs[-1].what == "CPU ops" and found.proofs[-1].passed


def test_a_name_with_braces_and_blanks(tmp_path: Path) -> None:
    found = oq.deploy(saved(lenet(), tmp_path, "a {b}.onnx"), "xmodel")
    assert found.next_step.endswith("-n 'a {b}'")


def test_samples_come_one_by_one_whatever_feeds_hold(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((6, 1, 8, 6)).astype(np.float32)
    found = oq.deploy(
        saved(lenet(), tmp_path), "xmodel", data=[{"x": values[:4]}, {"x": values[4:]}]
    )
    assert found.proofs[2].passed and found.proofs[2].figures.endswith("on 6 samples")


def test_same_file_same_bytes(tmp_path: Path) -> None:
    file = saved(lenet(), tmp_path)
    first, second = (
        Path(oq.deploy(file, "xmodel", tmp_path / n / "m.xmodel").output).read_bytes()
        for n in ("", "")
    )
    assert first == second


@pytest.mark.parametrize("name", ["residual", "separable"])
def test_bundled_models(name: str, tmp_path: Path) -> None:
    """Accuracy of the file as the simulation's, sample by sample."""
    data = BUNDLED / "digits_eval.npz"
    plain = BUNDLED / f"{name}.onnx"
    made = oq.quantize(plain, "dpu", data, samples=32, refine="none", verify=False)
    file = saved(made.model, tmp_path)
    found = oq.deploy(file, "xmodel", tmp_path / "m.xmodel", data=data, samples=8)
    assert all(p.passed for p in found.proofs)
    ours = oq.verify(plain, found.output, data, samples=40)
    dpu = oq.verify(plain, file, data, samples=40, engine="dpu")
    assert ours.deployed.classes == dpu.deployed.classes
    ends = [[o.max_abs for o in v.deployed.outputs] for v in (ours, dpu)]
    assert ends[0] == ends[1], "batches of 1 and of 8 sum errors in another order, maxima in none"
    assert ours.kernels.share == 100 and ours.read_once


def test_a_transformer_is_refused_by_the_op_that_xir_lacks(tmp_path: Path) -> None:
    made = oq.quantize(
        BUNDLED / "transformer.onnx", "dpu", "random", samples=2, refine="none", verify=False
    )
    with pytest.raises(oq.ModelError, match=r"cannot write LayerNormalization 'node_layer_norm"):
        made.deploy("xmodel", tmp_path / "t.xmodel")
    assert not [*tmp_path.iterdir()]


LIGHT = {
    "densenet121": {"concat": 58, "avgpool2d": 4},
    "inception_v2": {"concat": 10, "avgpool2d": 8},
    "resnet50": {"add": 16, "conv2d": 53},
    "shufflenet": {"transpose": 16, "depthwise-conv2d": 16},
    "squeezenet": {"concat": 8, "softmax": 1},
    "vgg19": {"matmul": 3, "conv2d": 16},
}
"""Those that target dpu takes and XIR has every op of -> how often some ops are in the file."""

LARGE = frozenset({"resnet50", "vgg19"})
"""Chains of what the others have, of 4 and 20 GMACs: their parameters are compared, not run."""


def for_dpu(name: str) -> onnx.ModelProto:
    model = narrow(name) if name in HUGE else load_model(light(name))
    return quantized(model, samples=1, mode="naive")


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT if SOAK else ("shufflenet", "squeezenet"))
def test_light_models(name: str) -> None:
    made = write(for_dpu(name))
    opened = made.read()
    kinds = opened.contents().ops
    assert {k: kinds[k] for k in LIGHT[name]} == LIGHT[name]
    assert structure_of(opened).passed
    assert parameters_of(made.model, made.translation, opened).passed
    if name not in LARGE:
        feeds = feeds_of(opened)
        (wanted,) = simulated(made.model, feeds).values()
        np.testing.assert_allclose(opened.run(feeds)[0], wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_light_models_with_lrn_are_refused() -> None:
    with pytest.raises(oq.ModelError, match="cannot write LRN"):
        write(for_dpu("inception_v1"))


def same_classes(result: oq.Result, images: Array, folder: Path) -> None:
    """Every value of the outputs, image by image."""
    found = result.deploy("xmodel", folder / "r.xmodel", data=images[:4])
    assert all(p.passed for p in found.proofs)
    opened = open_artifact(found.output)
    (info,) = opened.inputs
    for i in range(4, len(images)):
        feeds = {info.name: images[i : i + 1]}
        (wanted,) = simulated(result.model, feeds).values()
        np.testing.assert_allclose(opened.run(feeds)[0], wanted, rtol=1e-6)


@needs_real
@pytest.mark.slow
@together("resnet20", "dpu")
def test_resnet20(tmp_path: Path) -> None:
    same_classes(resnet20("dpu"), np.load(CIFAR / "eval.npz")["input"][:8], tmp_path)


@needs_real
@pytest.mark.slow
@together("mobilenet", "dpu")
def test_mobilenet(tmp_path: Path) -> None:
    found = mobilenet("dpu").deploy("xmodel", tmp_path / "m.xmodel", data="random", samples=1)
    assert all(p.passed for p in found.proofs) and IMAGENET.is_dir()
    assert "tensors equal those of the DPU simulation" in found.proofs[2].figures
