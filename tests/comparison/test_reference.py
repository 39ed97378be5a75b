"""A float model that onnxruntime cannot run is compared in float32, any other as it is."""

import numpy as np
import pytest

from oq.comparison.reference import reference_of
from tests.small import normal, random_feeds, reference, small

CONV = "net ({kind}[1,2,4,4] x) => ({kind}[1,3,4,4] y) {{ y = Conv <pads = [1,1,1,1]> (x, w) }}"
W = normal(3, 2, 3, 3, seed=1)


@pytest.mark.parametrize(("kind", "dtype"), [("float", "float32"), ("float16", "float16")])
def test_what_runs_is_its_own_reference(kind: str, dtype: str) -> None:
    model = small(CONV.format(kind=kind), {"w": W.astype(dtype)})
    assert reference_of(model) is model


def test_a_float64_product_runs_and_a_float64_convolution_does_not() -> None:
    text = "net (double[2,4] x) => (double[2,4] y) { y = MatMul (x, w) }"
    runs = small(text, {"w": normal(4, 4).astype(float)})
    assert reference_of(runs) is runs
    model = small(CONV.format(kind="double"), {"w": W.astype(float)})
    made = reference_of(model)
    assert list(made.graph.input) == list(model.graph.input)
    feeds = random_feeds(model)
    twin = small(CONV.format(kind="float"), {"w": W})
    expected = reference(twin, {"x": feeds["x"].astype(np.float32)})["y"]
    found = reference(made, feeds)["y"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-6)
