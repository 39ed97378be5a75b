"""Words for the usual mistakes, and silence for data as networks are fed."""

from pathlib import Path

import numpy as np
import pytest

import oq
from oq.calibration.data_checks import data_warnings
from oq.data.source import Data
from oq.numerics.statistics import EMPTY, observe
from oq.numerics.values import UINT8, Array, TensorInfo
from oq.planning.plan import KEPT
from oq.planning.spec import Own, Plan, Site, Skip
from oq.reporting.notes import run_warnings
from tests.graphs import Net

IMAGE = TensorInfo("x", "float32", ("n", 3, 8, 8))
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8)).astype(np.float32)
MEAN, STD = (
    np.asarray(v, np.float32)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
)


def words(values: Array, samples: int = 100, info: TensorInfo = IMAGE) -> str:
    return " | ".join(data_warnings([info], {"x": observe(values)}, samples))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (PIXELS, "looks like raw pixels: is the division by 255 (or 127.5) missing?"),
        (PIXELS / 65025, "looks like pixels divided by 255 twice"),
        (np.full((4, 3, 8, 8), 0.5), "holds values 0.5..0.5: every calibration value is the same"),
        (np.zeros((4, 3, 8, 8)), "every calibration value is the same"),
    ],
)
def test_mistakes_are_named_with_the_input(values: Array, said: str) -> None:
    found = words(values.astype(np.float32))
    assert said in found and found.startswith("input 'x' holds values")


@pytest.mark.parametrize(
    "values",
    [
        PIXELS / 255,
        PIXELS / 127.5 - 1,
        (PIXELS / 255 - MEAN) / STD,
        (PIXELS - 128) / 58,
        np.random.default_rng(0).standard_normal((9, 3, 8, 8)),
    ],
    ids=["unit", "tf", "imagenet", "standardized", "normal"],
)
def test_no_false_alarm_on_normalized_images(values: Array) -> None:
    assert words(values.astype(np.float32)) == ""


@pytest.mark.parametrize(
    "info",
    [
        TensorInfo("x", "uint8", ("n", 3, 8, 8)),  # the model normalizes by itself
        TensorInfo("x", "float32", ("n", 768)),
        TensorInfo("x", "float32", None),
        TensorInfo("x", None, ("n", 3, 8, 8)),
    ],
    ids=str,
)
def test_only_float_images_are_judged(info: TensorInfo) -> None:
    assert words(PIXELS, info=info) == ""


def test_few_samples() -> None:
    assert words(PIXELS / 255, 31) == "only 31 calibration samples; 32 or more are recommended"
    assert words(PIXELS / 255, 32) == ""


def test_nothing_known_is_nothing_said() -> None:
    assert data_warnings([IMAGE], {}, 100) == ()
    assert data_warnings([IMAGE], {"x": EMPTY}, 100) == ()


def test_the_report_carries_them() -> None:
    net = Net()
    model_of = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    model = net.model(model_of)
    random = np.random.default_rng(0)
    raw = random.integers(0, 256, (40, 4, 8, 8)).astype(np.float32)
    notes = oq.quantize(model, "trt", raw).report.notes
    assert any("raw pixels" in n for n in notes)
    assert oq.quantize(model, "trt", raw / 255).report.notes == ()


def test_random_data_is_said_loudly_and_only_on_request() -> None:
    net = Net()
    model = net.model(net.node("Relu", [net.conv(net.input("x"), "c")], "r"))
    report = oq.quantize(model, "ort", "random").report
    assert report.notes[0].startswith("CALIBRATED ON RANDOM NUMBERS")
    assert "CALIBRATED ON RANDOM NUMBERS" in str(report)
    with pytest.raises(oq.OqError, match="cannot be calibrated without data"):
        oq.quantize(model, "ort")


def skipped(*skips: Skip) -> str:
    site = Site("x", Own(UINT8), "activation", "Conv")
    return " | ".join(run_warnings(Plan("ort", (site,), (), skips), None))


UNCHECKED = "not verified: run oq verify on samples that were not used for calibration"


def test_layers_that_usually_are_quantized_are_named() -> None:
    odd = [Skip(f"c{i}", "Conv", "its weight is not constant") for i in range(4)]
    assert skipped(*odd) == (
        f"4 layers in float, of a kind that is usually quantized: c0, c1, c2, ... | {UNCHECKED}"
    )
    assert "1 layer in" in skipped(odd[0])


@pytest.mark.parametrize(
    "skip",
    [
        Skip("c", "Conv", KEPT.format(pattern="c")),
        Skip("c", "Conv", "slower in int8: its 3 x 3 kernel reads 3 of 3 channels"),
        Skip("c", "Conv", "3 input channels per group are too thin for int8 kernels"),
        Skip("m", "MatMul", "product of two activations"),
        Skip("s", "Softmax", "target ort does not support Softmax in int8"),
    ],
    ids=lambda s: s.reason[:20],
)
def test_what_was_asked_for_or_is_no_layer_is_no_surprise(skip: Skip) -> None:
    assert skipped(skip) == UNCHECKED


def test_accuracy_that_nobody_measured_is_said() -> None:
    bundled = Path(oq.__file__).parents[1] / "models" / "bundled"
    with np.load(bundled / "digits_calib.npz") as arrays:
        labelled = {key: arrays[key][:64] for key in arrays}
    bare = {"input": labelled["input"]}

    def notes(data: Data, verify: bool) -> str:
        model = bundled / "residual.onnx"
        made = oq.quantize(model, "ort", data, refine="none", verify=verify)
        return " ".join(made.report.notes)

    assert "accuracy" not in notes(labelled, True)
    assert "the data has no labels, so accuracy is unknown" in notes(bare, True)
    assert UNCHECKED in notes(labelled, False)
