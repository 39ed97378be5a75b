"""Types of less than a byte, and Apple's numbers of types."""

import numpy as np
import pytest

from oq.artifacts.mlpackage.dtypes import ARRAY_DTYPES, BITS, DTYPES, unpack


@pytest.mark.parametrize("name", sorted(BITS))
def test_packed_values_come_back(name: str) -> None:
    bits = BITS[name]
    low = -(1 << (bits - 1)) if name.startswith("int") else 0
    values = np.random.default_rng(0).integers(low, low + (1 << bits), 37)
    whole = sum(int(v) % (1 << bits) << (bits * i) for i, v in enumerate(values))
    data = np.frombuffer(whole.to_bytes(-(-37 * bits // 8), "little"), np.uint8)
    np.testing.assert_array_equal(unpack(data, 37, name), values)


def test_numbers_are_apple_s() -> None:
    pytest.importorskip("coremltools")
    from coremltools.proto import FeatureTypes_pb2, MIL_pb2

    names = {k: v.lower().replace("double", "float64") for v, k in MIL_pb2.DataType.items()}
    assert {k: names[k] for k in DTYPES} == dict(DTYPES)
    arrays = FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.items()
    named = {k: v.lower().replace("double", "float64") for v, k in arrays}
    assert {k: named[k] for k in ARRAY_DTYPES} == dict(ARRAY_DTYPES)
