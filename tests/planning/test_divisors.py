"""A quotient that is finite in float is finite in int8."""

import numpy as np
import onnx
import pytest

import oq
from oq.planning import registry
from oq.planning.divisors import DIVIDES, divisors
from oq.planning.plan import plan
from tests.small import normal, small, view

TARGETS = registry.names("targets")


def quotient(divide: str) -> onnx.ModelProto:
    """One layer over the sum of another, which is not negative, and a small number."""
    return small(
        f"""net (float[n,4,8,8] x) => (float[n,4,8,8] y) {{
            a = Conv<pads = [1, 1, 1, 1]>(x, w) b = Conv<pads = [1, 1, 1, 1]>(x, v) r = Relu(b)
            d = Add(r, least) {divide}
        }}""",
        {
            **{"w": normal(4, 4, 3, 3), "v": normal(4, 4, 3, 3, seed=1)},
            "least": np.array(1e-3, np.float32),
        },
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "divide", ["y = Div(a, d)", "s = Sqrt(d) q = Reciprocal(s) y = Mul(a, q)", "y = Log(d)"]
)
def test_nothing_becomes_infinite(divide: str, target: str) -> None:
    made = oq.quantize(quotient(divide), target, {"x": normal(32, 4, 8, 8)}, refine="none")
    found = made.report.verification
    assert made.report.plan.sites and found is not None
    for reading in (found.deployed, found.literal):
        assert reading.outputs[0].nonfinite == 0


def test_the_reason_names_what_divides() -> None:
    assert divisors(view(quotient("y = Div(a, d)")), True) == {"Add_d": DIVIDES.format("Div_y")}
    # a move between them changes nothing, and a constant divides by nothing that is rounded
    moved = "t = Transpose<perm = [0, 1, 3, 2]>(d) y = Div(a, t)"
    assert set(divisors(view(quotient(moved)), True)) == {"Add_d"}
    assert not divisors(view(quotient("y = Div(d, least)")), True)


def test_a_layer_stays_in_float_where_its_output_gets_a_grid() -> None:
    """TensorRT and OpenVINO write the products of an int8 layer in float."""
    model = small(
        "net (float[n,4] x) => (float[n,4] y) { m = MatMul(x, w) y = Log(m) }", {"w": normal(4, 4)}
    )
    planned = {t: plan(view(model), registry.target(t)) for t in TARGETS}
    assert {t for t, p in planned.items() if p.sites} == {"openvino", "trt"}
