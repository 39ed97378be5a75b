"""TensorRT's plans and the numbers its rows are drawn at."""

import numpy as np
import pytest
from onnx import numpy_helper

import oq
from oq import registry
from oq.errors import OptionError
from oq.graph import Graph
from oq.plan import plan
from oq.target import with_options
from tests.golden import floats, kernels, sites
from tests.golden_trt import TRT


@pytest.mark.parametrize("name", TRT)
def test_golden(name: str) -> None:
    case = TRT[name]
    target = with_options(registry.target("trt"), case.options)
    found = plan(Graph(case.build()).view(), target, naive=case.naive)
    assert sites(found) == dict(case.golden.sites)
    assert kernels(found) == case.golden.kernels
    assert floats(found) == dict(case.golden.floats)


def test_fp8_is_what_the_file_says() -> None:
    """448 codes reach the largest value, the file loads and both readings agree."""
    model = TRT["fp8 dtype=fp8"].build()
    data = np.random.default_rng(0).normal(size=(16, 3, 64, 64)).astype(np.float32)
    done = oq.quantize(model, "trt", data, settings={"dtype": "fp8"})
    kept = {t.name: t for t in done.model.graph.initializer}
    codes = numpy_helper.to_array(kept["w_d_quantized"])
    assert codes.dtype == "float8_e4m3fn"
    assert np.abs(codes.astype(np.float32)).max(axis=(1, 2, 3)).min() == 448
    assert done.report.findings == () and done.model.opset_import[0].version >= 19
    assert done.report.verification is not None
    for reading in (done.report.verification.deployed, done.report.verification.literal):
        assert reading.outputs[0].sqnr_db > 20


def test_fp8_has_no_transposed_convolution() -> None:
    with pytest.raises(OptionError, match="has no FP8 form"):
        with_options(registry.target("trt"), {"dtype": "fp8", "conv_transpose": "int8"})
