"""Large arrays lie in files, and joining or handing them on writes none again."""

import numpy as np
import pytest
from onnx import TensorProto

from oq.model import stored
from oq.model.stored import Spill
from oq.model.stored_arrays import StoredArrays, held
from tests.small import normal

LARGE, SMALL = normal(64, 64), normal(3)


@pytest.fixture(autouse=True)
def _of_4_kilobytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LEAST_TENSOR", 4096)


@pytest.mark.parametrize("spill", [None, Spill()])
def test_values_come_back_in_c_order(spill: Spill | None) -> None:
    arrays = StoredArrays(spill)
    given = {"large": LARGE.T, "small": SMALL, "one": np.asarray(7.0)}
    arrays.update(given)
    for name, exact in given.items():
        found = arrays[name]
        np.testing.assert_array_equal(found, exact)
        assert found.flags.c_contiguous and found.shape == exact.shape
    assert isinstance(dict(held(arrays))["large"], TensorProto) == (spill is not None)
    assert not isinstance(dict(held(arrays))["small"], TensorProto)


def test_a_union_shares_files() -> None:
    first = StoredArrays(Spill()) | {"a": LARGE, "b": LARGE}
    second = StoredArrays(first.spill) | {"b": 2 * LARGE, "c": SMALL}
    both = first | second
    assert list(both) == ["a", "b", "c"]
    np.testing.assert_array_equal(both["b"], 2 * LARGE)
    np.testing.assert_array_equal(first["b"], LARGE)
    lie = dict(held(both))
    assert lie["a"] is dict(held(first))["a"] and lie["b"] is dict(held(second))["b"]
    left = both.without(frozenset({"b"}))
    assert list(left) == ["a", "c"] and "b" not in left and "b" in both
