"""Cutting: a part of a model computes what the whole does, from tensors that are given."""

import numpy as np

from oq.model.cut import cut
from tests.model.test_session import CHAIN
from tests.small import normal, reference, small


def test_a_cut_model_computes_from_what_it_is_given() -> None:
    """Relu, Neg and Abs in a row, the value between the first two given from outside."""
    model = small(CHAIN)
    given = normal(2, 3)
    part = cut(model, {"a:new": np.float32}, lambda t, _: "a:new" if t == "a" else t, ["y"])
    assert [n.op_type for n in part.graph.node] == ["Neg", "Abs"], "what is not needed is gone"
    assert [i.name for i in part.graph.input] == ["a:new"]
    np.testing.assert_array_equal(reference(part, {"a:new": given})["y"], np.abs(given))
    # the tensor itself can still be asked for, and only the readers named are redirected
    both = cut(model, {"a:new": np.float32}, lambda t, r: "a:new" if r == "b" else t, ["a", "y"])
    found = reference(both, {"x": normal(2, 3, seed=1), "a:new": given})
    np.testing.assert_array_equal(found["a"], np.maximum(normal(2, 3, seed=1), 0))
    np.testing.assert_array_equal(found["y"], np.abs(given))
    assert [n.op_type for n in model.graph.node] == ["Relu", "Neg", "Abs"]
