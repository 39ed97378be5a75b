"""TensorRT's plans and the numbers its rows are drawn at."""

import pytest

from oq import registry
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
