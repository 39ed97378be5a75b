"""What is compared of OpenVINO's outputs: every sample, one by itself, and what a Softmax reads."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.deployment.formats import Proof
from oq.deployment.openvino import prove as module
from oq.deployment.openvino.prove import before_softmax
from oq.engines.openvino_ir import OpenvinoFile
from tests.small import floats, normal, small

pytest.importorskip("openvino")

NET = """net (float[n,8] x) => (float[n,16] y, float[n,16] z) {
    q = QuantizeLinear(x, s, z0)
    d = DequantizeLinear(q, s, z0)
    m = MatMul(d, w)
    big = Mul(m, k)
    p = Softmax(big)
    y = Reshape(p, shape)
    z = Relu(m)
}"""


def model(factor: float) -> onnx.ModelProto:
    constants = {"s": floats(0.1)[0], "z0": np.asarray(128, np.uint8), "k": floats(factor)[0],
                 "w": normal(8, 16), "shape": np.asarray([-1, 16])}  # fmt: skip
    return small(NET, constants)


def test_outputs_of_a_softmax_are_read_in_front_of_it() -> None:
    assert before_softmax(model(1)) == ["big", "z"]
    plain = small("net (float[n,8] x) => (float[n,8] y) { y = Relu(x) }")
    assert before_softmax(plain) == []


def blurred(monkeypatch: pytest.MonkeyPatch, share: float, alone: bool = False) -> None:
    """Let OpenVINO's arrays be wrong by ``share`` of what they are, by turns up and down; only of
    batches of one sample where ``alone``."""
    run = OpenvinoFile.run

    def off(self: OpenvinoFile, feeds: Any, outputs: Any = None) -> list[Any]:
        found = run(self, feeds, outputs)
        if alone and len(feeds["x"]) > 1:
            return found
        signs = np.resize([1, -1], found[0].shape)
        return [(f * (1 + share * signs)).astype(f.dtype) for f in found]

    monkeypatch.setattr(OpenvinoFile, "run", off)


def test_a_softmax_of_coarse_values_is_compared_in_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of 1e9 are apart by steps of 64: the sums of two engines, and so what is largest."""
    compare = module._compare

    def behind(given: Any, opened: Any) -> Any:
        found = compare(given, opened)
        names = [o.name for o in given.model.graph.output]
        return found if "big" in names else Proof("outputs", "far", False)

    monkeypatch.setattr(module, "_compare", behind)
    found = oq.deploy(model(1e9), "openvino", tmp_path / "m.xml", samples=2)
    assert "before Softmax, which reads values of" in found.proofs[-1].what
    with pytest.raises(oq.ModelError, match="outputs: far"):
        oq.deploy(model(1), "openvino", tmp_path / "n.xml", samples=2)


@pytest.mark.parametrize("alone", [False, True])
def test_what_is_wrong_of_one_sample_by_itself_is_seen(
    alone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blurred(monkeypatch, 0.9, alone)
    with pytest.raises(oq.ModelError, match="outputs on 3 samples"):
        oq.deploy(model(1), "openvino", tmp_path / "m.xml", samples=3)
    assert not list(tmp_path.iterdir())


def test_logits_beside_their_softmax_are_read_once() -> None:
    """A graph cannot give out one tensor twice."""
    body = "{ z = Relu(x) y = Softmax(z) }"
    assert before_softmax(small(f"net (float[n,8] x) => (float[n,8] z, float[n,8] y) {body}")) == [
        "z"
    ]
