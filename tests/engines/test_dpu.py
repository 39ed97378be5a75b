"""The DPU as the engine of oq verify: its rows, its codes, its float nodes."""

import numpy as np
import pytest

import oq
from oq.comparison.compare import compare
from oq.engines.dpu import ENGINE
from oq.errors import ModelError
from oq.model.session import Settings
from oq.numerics.values import Batch
from oq.reporting.verification import verification_lines
from tests.dpu.shifts import ShiftNet
from tests.graphs import Net


def test_codes_that_differ_are_counted() -> None:
    """2 x at one position coarser: odd codes are ties, and half of them go to even downwards."""
    net = ShiftNet()
    x = net.pair(net.input("x", ("n", 8)), 0)
    quantized = net.model(net.pair(net.node("Relu", [x], "r"), -1))
    other = Net()
    other.node("Relu", [other.input("x", ("n", 8))], quantized.graph.output[0].name)
    values = np.arange(8, dtype=np.float32).reshape(1, 8)
    found = compare(other.model(quantized.graph.output[0].name), quantized,
                    [Batch({"x": values}), Batch({"x": values})], engine="dpu")  # fmt: skip
    # 0 1 2 3 4 5 6 7 -> half up 0 1 1 2 2 3 3 4, half to even 0 0 1 2 2 2 3 4: codes 1 and 5
    (codes,) = found.codes
    assert (codes.values, codes.differing, codes.largest) == (16, 4, 1)
    assert found.simulated and found.latency is None
    assert found.deployed.outputs[0].max_abs == found.literal.outputs[0].max_abs == 1.0
    text = "\n".join(verification_lines(found))
    assert (
        "25.0 % of integer values differ between dpu and literal, by 1 steps at most"
        in " ".join(text.split())
    )
    assert "1 of 1 nodes in integers (100 %) in dpu" in text


def test_what_is_float_is_listed() -> None:
    net = ShiftNet()
    net.node("Softmax", [net.pair(net.input("x", ("n", 8)), 4)], "s")
    model = net.model("s")
    loaded = ENGINE.load(model, Settings())
    loaded.run({"x": np.zeros((1, 8), np.float32)})
    found = ENGINE.count_kernels(model, loaded)
    assert (found.integer, found.floating) == (0, 1)
    assert found.left == ("1 x the DPU has no kernel for Softmax",)
    assert ENGINE.steps(loaded) == {}


def test_the_target_chooses_the_engine() -> None:
    net = Net()
    model = net.model(net.node("Relu", [net.conv(net.input("x"), "c")], "r"))
    data = np.random.default_rng(0).normal(size=(16, 4, 8, 8)).astype(np.float32)
    made = oq.quantize(model, "dpu", data)
    assert made.report.verification is not None and made.report.verification.engine == "dpu"
    assert oq.verify(model, made.model, data, target="dpu").engine == "dpu"
    assert oq.verify(model, made.model, data, target="ort", latency=False).engine == "onnxruntime"
    chosen = oq.verify(model, made.model, data, target="dpu", engine="onnxruntime", latency=False)
    assert chosen.engine == "onnxruntime"


def test_other_files_are_refused_with_words() -> None:
    net = Net()
    model = net.model(net.node("Relu", [net.conv(net.input("x"), "c")], "r"))
    data = np.random.default_rng(0).normal(size=(16, 4, 8, 8)).astype(np.float32)
    made = oq.quantize(model, "ort", data, verify=False)
    with pytest.raises(
        ModelError, match="the DPU requantizes by shifts, so it needs one power of two"
    ):
        oq.verify(model, made.model, data, target="dpu")
