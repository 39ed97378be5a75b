"""The front end of an audio model stays in float; what reads its logarithm does not."""

import numpy as np
import onnx
import pytest

import oq
from oq.numerics.values import Array
from oq.planning import registry
from oq.planning.energies import ROUNDED, SPANS, spectra
from oq.planning.plan import plan
from tests.small import normal, small, view

BINS, BANDS = 16, 8


def front_end(middle: str) -> onnx.ModelProto:
    """A Fourier transform of 32 samples, what ``middle`` makes ``m`` of (real part ``r``, imaginary
    part ``i``), a filter bank of 8 bands, the logarithm, and one layer over that."""
    t, k = np.arange(2 * BINS), np.arange(BINS)[:, None]
    bank = np.maximum(0, 1 - np.abs(np.arange(BINS)[:, None] / 2 - np.arange(BANDS))) / 2
    return small(
        f"""net (float[n,1,256] x) => (float[n,29,4] y) {{
            r = Conv<strides = [8]>(x, cosines) i = Conv<strides = [8]>(x, sines) {middle}
            t = Transpose<perm = [0, 2, 1]>(m) b = MatMul(t, bank) c = Max(b, least) l = Log(c)
            y = MatMul(l, w)
        }}""",
        {
            "cosines": np.cos(np.pi * k * t / BINS)[:, None].astype(np.float32),
            "sines": np.sin(np.pi * k * t / BINS)[:, None].astype(np.float32),
            "bank": bank.astype(np.float32),
            "least": np.array(1e-7, np.float32),
            "two": np.array(2, np.float32),
            "w": normal(BANDS, 4),
        },
    )


POWER = "a = Mul(r, r) q = Mul(i, i) m = Add(a, q)"
AMPLITUDE = "a = Pow(r, two) q = Pow(i, two) s = Add(a, q) m = Sqrt(s)"
BOTH = "c2 = Concat<axis = 2>(r, i) p = Pow(c2, two) f, g = Split<axis = 2>(p) m = Add(f, g)"
AGAIN = f"{AMPLITUDE.replace('m =', 'e =')} m = Mul(e, e)"
MIDDLES = {"power": POWER, "amplitude": AMPLITUDE, "stacked": BOTH, "squared again": AGAIN}


def sounds(count: int) -> Array:
    """Tones that fade by 80 dB."""
    random, t = np.random.default_rng(0), np.arange(256)
    fading = 10 ** (-4 * t / 256)
    pitch = random.uniform(0.1, 2.8, (count, 1, 1))
    return (fading * np.sin(pitch * t)).astype(np.float32)


@pytest.mark.parametrize("middle", MIDDLES)
def test_the_layers_between_the_waveform_and_the_logarithm(middle: str) -> None:
    found = spectra(view(front_end(MIDDLES[middle])))
    assert found == dict.fromkeys(("Conv_r", "Conv_i", "MatMul_b"), SPANS.format("Log_l"))


@pytest.mark.parametrize(
    ("root", "kept"),
    [
        ("m = Sqrt(s)", True),
        ("e = Sqrt(s) u = Mul(s, s) m = Add(e, u)", True),
        ("e = Sqrt(s) m = Add(e, r)", False),  # the transform itself is read, too
        ("e = Sqrt(s) m = Div(r, e)", False),  # a normalization
        ("m = Relu(s)", False),  # energies
    ],
)
def test_the_transform_in_front_of_amplitudes(root: str, kept: bool) -> None:
    """Without a logarithm, as the detector of voices has it."""
    model = small(
        f"""net (float[n,1,256] x) => (float[n,29,4] y) {{
            r = Conv<strides = [8]>(x, cosines) a = Pow(r, two) q = Abs(a) s = Add(a, q) {root}
            t = Transpose<perm = [0, 2, 1]>(m) y = MatMul(t, w)
        }}""",
        {"cosines": normal(BINS, 1, 32), "two": np.array(2, np.float32), "w": normal(BINS, 4)},
    )
    reason = ROUNDED.format(next((n.name for n in view(model).nodes if n.op == "Sqrt"), ""))
    assert spectra(view(model)) == ({"Conv_r": reason} if kept else {})


@pytest.mark.parametrize(
    ("target", "kept"),
    [("ort", False), ("openvino", False), ("trt", True), ("coreml", False), ("dpu", True)],
)
def test_amplitudes_are_read_in_integers_where_they_have_8_bits(target: str, kept: bool) -> None:
    model = small(
        """net (float[n,1,256] x) => (float[n,4,27] y) {
            r = Conv<strides = [8]>(x, cosines) a = Mul(r, r) m = Sqrt(a) y = Conv(m, w)
        }""",
        {"cosines": normal(BINS, 1, 32), "w": normal(4, BINS, 3)},
    )
    skipped = {s.node for s in plan(view(model), registry.target(target)).skips}
    assert {"Conv_r"} <= skipped
    assert ("Conv_y" in skipped) == kept


@pytest.mark.parametrize("target", registry.names("targets"))
def test_a_model_that_hears_keeps_what_is_quiet(target: str) -> None:
    """On 8 bits, the same model falls below 15 dB on every target (``mode="naive"``)."""
    model, data = front_end(POWER), {"x": sounds(32)}
    made = oq.quantize(model, target, data, refine="none")
    found, naive = (
        m.report.verification
        for m in (made, oq.quantize(model, target, data, refine="none", mode="naive"))
    )
    assert found is not None and found.literal.outputs[0].sqnr_db > 25
    assert naive is not None and naive.literal.outputs[0].sqnr_db < 15
    assert {s.node for s in made.report.plan.skips} >= {"MatMul_b"}


@pytest.mark.parametrize(
    "text",
    [
        "a = MatMul(x, v) e = Mul(a, a) y = MatMul(e, w)",  # no logarithm
        "a = MatMul(x, v) e = Relu(a) l = MatMul(e, w) y = LogSoftmax(l)",
        "a = MatMul(x, v) s = Softmax(a) l = Log(s) y = MatMul(l, w)",  # the scores as they were
    ],
)
def test_other_layers_are_not_concerned(text: str) -> None:
    model = small(
        f"net (float[n,4] x) => (float[n,4] y) {{ {text} }}", {"v": normal(4, 4), "w": normal(4, 4)}
    )
    assert not spectra(view(model))
    assert plan(view(model), registry.target("trt")).sites


@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.0])
def test_another_power_is_no_energy(exponent: float) -> None:
    model = front_end("a = Pow(r, power) q = Pow(i, power) m = Add(a, q)")
    power = onnx.numpy_helper.from_array(np.array(exponent, np.float32), "power")
    model.graph.initializer.append(power)
    assert "Conv_r" not in spectra(view(model))


def test_twice_a_value_is_no_energy() -> None:
    assert spectra(view(front_end("a = Add(r, r) q = Add(i, i) m = Add(a, q)"))) == {
        "MatMul_b": SPANS.format("Log_l")
    }
