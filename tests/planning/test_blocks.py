"""Weights in blocks on ort, against NumPy's rounding and onnxruntime's own MatMulNBits."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oq
from models.digits import BUNDLED
from oq.errors import OptionError
from oq.model.session import optimized_ops
from oq.numerics.values import Array
from tests.decoder import as_past, decoder, no_past
from tests.graphs import Net
from tests.small import normal, reference, small

DEEP, WIDE = 100, 61
"""No multiple of a block, and odd: four blocks of 32 of which the last has 4."""

CASES = [
    (bits, block, points)
    for bits in (4, 8)
    for block in (16, 32, 128)
    for points in ("affine", "none")
]


def layer(seed: int = 0) -> onnx.ModelProto:
    weight = np.random.default_rng(seed).normal(0.02, 0.1, (DEEP, WIDE)).astype(np.float32)
    text = f"net (float[n,t,{DEEP}] x) => (float[n,t,{WIDE}] y) {{ y = MatMul(x, w) }}"
    return small(text, {"w": weight})


def stored(model: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def in_blocks(weight: Array, size: int) -> list[Array]:
    return [weight[i : i + size] for i in range(0, len(weight), size)]


def sqnr(exact: Array, found: Array) -> float:
    return float(10 * np.log10((exact**2).sum() / ((exact - found) ** 2).sum()))


@pytest.mark.parametrize(("bits", "block", "points"), CASES)
def test_every_block_is_rounded_to_the_nearest(bits: int, block: int, points: str) -> None:
    """Affine: the range of each block and 0 over all codes; without zero points no grid of 61 from
    the full range down errs less."""
    settings = {"weights": f"int{bits}", "block": block, "zero_points": points, "form": "qdq"}
    made = oq.quantize(layer(), "ort", settings=settings).model
    weight, held = stored(layer())["w"], stored(made)
    codes = held["w_quantized"].astype(np.int64)
    scale, zero = held["w_scale"], held["w_zero_point"].astype(np.int64)
    highest = 2**bits - 1
    assert held["w_quantized"].dtype == (f"uint{bits}" if points == "affine" else f"int{bits}")
    blocks = zip(in_blocks(weight, block), in_blocks(codes, block), scale, zero, strict=True)
    for real, code, step, point in blocks:
        if points == "affine":
            lo, hi = np.minimum(real.min(0), 0), np.maximum(real.max(0), 0)
            np.testing.assert_allclose(step, (hi - lo) / highest, rtol=1e-6)
            np.testing.assert_array_equal(point, np.rint(-lo / step))
            wanted = np.clip(np.rint(real / step) + point, 0, highest)
        else:
            full = np.abs(real).max(0) / (highest // 2)
            tries = full * np.linspace(1, 0.4, 61)[:, None]
            rounded = np.clip(np.rint(real / tries[:, None]), -(highest // 2) - 1, highest // 2)
            errors = ((rounded * tries[:, None] - real) ** 2).sum(1)
            assert not point.any()
            np.testing.assert_allclose(step, tries[errors.argmin(0), np.arange(WIDE)], rtol=1e-6)
            wanted = np.clip(np.rint(real / step), -(highest // 2) - 1, highest // 2)
        np.testing.assert_array_equal(code, wanted)


def packed(codes: Array, bits: int, block: int) -> Array:
    """As MatMulNBits stores them: (out, blocks, bytes of a block), the lower half byte first."""
    full = np.pad(codes, ((0, -len(codes) % block), (0, 0))).T.astype(np.uint8)
    full = full.reshape(full.shape[0], -1, block)
    return full if bits == 8 else full[:, :, ::2] | (full[:, :, 1::2] << 4)


@pytest.mark.parametrize(("bits", "block", "points"), CASES)
def test_the_file_holds_onnxruntimes_own_operator(bits: int, block: int, points: str) -> None:
    """The codes of the Q/DQ form, packed by NumPy; both forms load as the same kernel."""
    settings = {"weights": f"int{bits}", "block": block, "zero_points": points}
    made = oq.quantize(layer(), "ort", settings=settings).model
    plain = oq.quantize(layer(), "ort", settings={**settings, "form": "qdq"}).model
    [node] = made.graph.node
    attributes = {a.name: a.i for a in node.attribute}
    assert (node.op_type, node.domain, node.name) == ("MatMulNBits", "com.microsoft", "MatMul_y")
    assert attributes == {
        "K": DEEP, "N": WIDE, "bits": bits, "block_size": block, "accuracy_level": 4
    }  # fmt: skip
    held, codes = stored(made), stored(plain)
    middle = 2 ** (bits - 1) if points == "none" else 0
    whole = codes["w_quantized"].astype(np.int64) + middle
    np.testing.assert_array_equal(held[node.input[1]], packed(whole, bits, block))
    np.testing.assert_array_equal(held[node.input[2]], codes["w_scale"].T.reshape(-1))
    if points == "none":
        assert len(node.input) == 3 or not node.input[3]
    else:
        zero: Array = codes["w_zero_point"].T.astype(np.uint8)
        if bits == 4:
            zero = np.pad(zero, ((0, 0), (0, zero.shape[1] % 2)))
            zero = zero[:, ::2] | (zero[:, 1::2] << 4)
        np.testing.assert_array_equal(held[node.input[3]], zero.reshape(-1))
    assert optimized_ops(made) == optimized_ops(plain) == {"MatMulNBits": 1}
    feeds = {"x": normal(2, 3, DEEP)}
    exact = reference(plain, feeds)["y"]
    for model in (made, plain):  # the kernel rounds the data to int8
        assert sqnr(exact, reference(model, feeds, deployed=True)["y"]) > 35


def test_data_that_is_not_rounded() -> None:
    settings = {"weights": "int4", "accuracy_level": 0}
    made = oq.quantize(layer(), "ort", settings=settings).model
    plain = oq.quantize(layer(), "ort", settings={"weights": "int4", "form": "qdq"}).model
    feeds = {"x": normal(2, 3, DEEP)}
    exact, found = reference(plain, feeds)["y"], reference(made, feeds, deployed=True)["y"]
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


def test_a_decoder_with_a_past() -> None:
    """Every product with a weight runs as MatMulNBits, the shared weight twice from one copy, and
    the states go from step to step."""
    exact = decoder()
    made = oq.quantize(exact, "ort", settings={"weights": "int8"}).model
    ops = optimized_ops(made)
    assert ops["MatMulNBits"] == 13 and ops["MatMul"] + ops["FusedMatMul"] == 4
    assert "DequantizeLinear" not in ops and ops["Gather"] == 1
    assert len({n.input[1] for n in made.graph.node if n.op_type == "MatMulNBits"}) == 12
    assert [o.name for o in made.graph.output] == [o.name for o in exact.graph.output]
    ids = np.random.default_rng(1).integers(0, 61, (2, 7))
    states = {True: no_past(2), False: no_past(2)}
    for words in (ids[:, :4], ids[:, 4:5], ids[:, 5:6], ids[:, 6:]):
        ran = {}
        for is_exact, model in ((True, exact), (False, made)):
            feeds = {"ids": words, **states[is_exact]}
            ran[is_exact] = reference(model, feeds, deployed=True)
            states[is_exact] = as_past(ran[is_exact])
        assert all(sqnr(ran[True][name], ran[False][name]) > 30 for name in ran[True])
    assert oq.check(made, "ort") == ()


GEMMS = {
    "transposed": ("y = Gemm<transB = 1>(x, wt, b)", 1),
    "twice": ("a = Gemm<transB = 1>(x, wt, b)\n c = Gemm<transB = 1>(a, wt, b)\n y = Relu(c)", 2),
    "factors": ("y = Gemm<alpha = 0.5, beta = 2.0>(x, w, b)", 1),
    "bias as matrix": ("y = Gemm(x, w, row)", 1),
    "computed bias": ("c = Relu(b)\n d = Mul(c, x1)\n y = Gemm(x, w, d)", 1),
    "product and sum": ("m = MatMul(x, w)\n y = Add(m, b)", 1),
}


@pytest.mark.parametrize("name", GEMMS)
def test_gemms(name: str) -> None:
    body, count = GEMMS[name]
    constants = {
        "w": normal(40, 40), "wt": normal(40, 40, seed=1), "b": normal(40), "row": normal(1, 40),
        "x1": normal(40),
    }  # fmt: skip
    exact = small(f"net (float[n,40] x) => (float[n,40] y) {{ {body} }}", constants)
    made = oq.quantize(exact, "ort", settings={"weights": "int8"}).model
    ops = optimized_ops(made)
    assert ops["MatMulNBits"] == count
    assert {"Gemm", "DequantizeLinear", "FusedGemm"}.isdisjoint(ops)
    feeds = {"x": normal(3, 40, seed=9)}
    assert sqnr(reference(exact, feeds)["y"], reference(made, feeds, deployed=True)["y"]) > 32


def test_what_stays_in_float_says_why() -> None:
    net = Net()
    x = net.input("x", ("n", 3, 40))
    net.node("MatMul", [x, net.weight("w_s", 3, 40, 8)], "s")
    net.node("MatMul", [x, net.node("Transpose", [x], "t", perm=[0, 2, 1])], "p")
    net.node("Relu", [net.node("MatMul", [x, net.weight("w_v", 40)], "v")], "r")
    found = oq.make_plan(net.model("s", "p", "r"), "ort", settings={"weights": "int4"})
    only = "only the weights of MatMul and Gemm are quantized; activations stay in float"
    assert {s.node: s.reason for s in found.skips} == {
        "n_s": "its weight 'w_s' has 3 axes, and the kernel takes a matrix",
        "n_p": "both operands are computed at run time, so there is no weight to store",
        "n_v": "its weight 'w_v' has 1 axes, and the kernel takes a matrix",
        "n_r": only,
        "n_t": only,
    }
    assert found.sites == ()


def test_rounding_with_feedback_takes_blocks() -> None:
    """GPTQ where there is data: nearer in what the model computes, on the same grids."""
    data = np.load(BUNDLED / "digits_calib.npz")
    feeds = {k: data[k] for k in data.files if k != "labels"}
    model, settings = BUNDLED / "transformer.onnx", {"weights": "int4"}
    nearest = oq.quantize(model, "ort", feeds, settings=settings, refine="none")
    found = oq.quantize(model, "ort", feeds, settings=settings)
    assert [o.step for o in found.report.refinement if o.kept][-1] == "round"
    held = [r.report.verification for r in (nearest, found)]
    assert all(h is not None for h in held)
    before, after = (h.literal.outputs[0].sqnr_db for h in held if h is not None)
    assert after > before + 2
    grids = [
        {n: v for n, v in stored(r.model).items() if n.endswith(("_scale", "_zero_point"))}
        for r in (nearest, found)
    ]
    assert grids[0].keys() == grids[1].keys()
    for name, values in grids[0].items():
        np.testing.assert_array_equal(values, grids[1][name])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("form", "count"), [("nbits", 13), ("qdq", 11)])
def test_the_forecast_counts_what_onnxruntime_fuses(bits: int, form: str, count: int) -> None:
    """As Q/DQ it fuses no weight that two layers share, and the forecast says so."""
    settings = {"weights": f"int{bits}", "form": form}
    made = oq.quantize(decoder(), "ort", settings=settings).model
    for options in ({}, settings):
        found = oq.judge(made, "ort", settings=options).forecast
        assert found.weight_kernels == optimized_ops(made)["MatMulNBits"] == count
        assert found.kernels == 0 and found.weight_macs > 0.7 * found.macs
        runs = Counter(f.runs for f in found.nodes if f.op == "MatMul")
        assert runs == {"weights": count, "float": 17 - count}
        shared = [f for f in found.nodes if "dequantizes the weight on every run" in f.reason]
        assert len(shared) == 13 - count


@pytest.mark.parametrize("target", ["coreml", "dpu"])
def test_targets_without_such_weights(target: str) -> None:
    with pytest.raises(OptionError, match=f"target {target} has no such option; ort and trt have"):
        oq.quantize(layer(), target, settings={"weights": "int4"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block": "64"}, "--set block=64 is for --set weights=int4 and weights=int8"),
        ({"zero_points": "none"}, "--set zero_points=none is for --set weights=int4"),
        (
            {"weights": "int4", "attention": "int8"},
            "attention=int8 needs calibrated activations",
        ),
        (
            {"attention": "int8", "weights": "int4"},
            "attention=int8 needs calibrated activations",
        ),
        ({"form": "qdq"}, "--set form=qdq is for --set weights=int4 and weights=int8"),
        (
            {"weights": "int4", "form": "qdq", "accuracy_level": "0"},
            "session.qdq_matmulnbits_accuracy_level=0",
        ),
        ({"weights": "int3"}, "--set weights=int3: target ort takes static, int8, int4"),
        ({"weights": "int4", "block": 48}, "--set block=48: target ort takes 32, 16, 64, 128, 256"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        oq.make_plan(layer(), "ort", settings=settings)


def test_the_same_file_on_arm() -> None:
    made = [
        oq.quantize(layer(), "ort", settings={"weights": "int4", **more}).model.graph
        for more in ({}, {"platform": "arm"})
    ]
    assert made[0] == made[1]


def test_no_larger_and_no_less_exact_than_another_tool() -> None:
    """Codes of onnxruntime's own quantizer err as much, and oq check reads its file."""
    tool = pytest.importorskip("onnxruntime.quantization.matmul_nbits_quantizer")
    config = tool.DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=False, bits=4)
    theirs = tool.MatMulNBitsQuantizer(layer(), algo_config=config, bits=4, block_size=32)
    theirs.process()
    other = theirs.model.model
    settings = {"weights": "int4", "accuracy_level": 0}
    made = oq.quantize(layer(), "ort", settings=settings).model
    feeds = {"x": np.eye(DEEP, dtype=np.float32)[None]}
    weight = stored(layer())["w"]
    errors = [sqnr(weight, reference(m, feeds)["y"][0]) for m in (made, other)]
    assert abs(errors[0] - errors[1]) < 0.05
    assert made.ByteSize() < other.ByteSize() + 2000  # what oq writes about the run
    found = oq.judge(other, "ort")
    assert found.findings == () and found.forecast.weight_kernels == 1


def test_a_model_with_nothing_to_quantize_is_told() -> None:
    exact = small("net (float[n,8] x) => (float[n,8] y) { y = Relu(x) }")
    for settings in ({"weights": "int4"}, {"dynamic": "on"}):
        report = str(oq.quantize(exact, "ort", settings=settings).report)
        assert "nothing is quantized: the file is the float model" in report


@pytest.mark.parametrize("settings", [{"weights": "int4"}, {"weights": "int8", "form": "qdq"}])
def test_the_page_of_a_run(settings: dict[str, str], tmp_path: Path) -> None:
    """Every weight is drawn by output channel, with the ends of all its blocks."""
    data = {"ids": np.random.default_rng(0).integers(0, 61, (16, 5))}
    for name in no_past(1):
        data[name] = normal(16, 4, 3, 10)
    page = tmp_path / "page.html"
    done = oq.quantize(decoder(), "ort", data, settings=settings, report=page, refine="none")
    done.save(tmp_path / "made.onnx")
    text = page.read_text(encoding="utf-8")
    assert "wq0" in text and "w20" in text
