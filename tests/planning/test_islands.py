"""In int8 only where a layer is near."""

import onnx
import pytest

from oq.planning import registry
from oq.planning.islands import ALONE
from oq.planning.plan import plan
from oq.planning.spec import Plan
from tests.small import normal, small, view

TARGETS = registry.names("targets")
LAYER = {"w": normal(4, 4, 1, 1)}


def planned(text: str, target: str, *, naive: bool = False, layers: bool = True) -> Plan:
    model: onnx.ModelProto = small(text, LAYER if layers else {})
    return plan(view(model), registry.target(target), naive=naive)


@pytest.mark.parametrize("target", TARGETS)
def test_without_a_layer_nothing_is_rounded(target: str) -> None:
    text = """net (float[n,4,8,8] a, float[n,4,8,8] b) => (float[n,8,3,3] y) {
        s = Add(a, b) c = Concat<axis = 1>(s, b) m = MaxPool<kernel_shape = [2, 2]>(c)
        y = AveragePool<kernel_shape = [3, 3], strides = [2, 2]>(m)
    }"""
    found = planned(text, target, layers=False)
    assert not found.sites
    if target == "dpu":
        assert {s.op for s in found.skips if s.reason == ALONE} >= {"Add", "AveragePool"}


@pytest.mark.parametrize("target", ["coreml", "dpu", "ort"])
def test_what_a_layer_gives_is_added_in_integers(target: str) -> None:
    """The Add behind two layers is a kernel; the pooling behind a Softmax has nothing to gain."""
    text = """net (float[n,4,8,8] x) => (float[n,4,8,8] y, float[n,4,4,4] z) {
        a = Conv(x, w) b = Conv(a, w) y = Add(a, b)
        p = Softmax<axis = 1>(y) z = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(p)
    }"""
    found = planned(text, target)
    ops = {op for group in found.groups for op in group.ops}
    assert "Add" in ops and "AveragePool" not in ops


def test_a_common_input_is_no_neighbour() -> None:
    """The layer reads x in codes; the Add of x would have to write codes that nobody reads."""
    text = """net (float[n,4,8,8] x, float[n,4,8,8] b) => (float[n,4,8,8] y, float[n,256] z) {
        y = Conv(x, w) s = Add(x, b) z = Flatten(s)
    }"""
    for target in ("coreml", "dpu"):
        found = planned(text, target)
        assert {s.op: s.reason for s in found.skips}["Add"] == ALONE


def test_naive_rounds_all_the_same() -> None:
    text = "net (float[n,4] a, float[n,4] b) => (float[n,4] y) { y = Add(a, b) }"
    assert planned(text, "dpu", naive=True, layers=False).sites
