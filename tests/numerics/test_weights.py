"""Ranges of constants, against a search written out channel by channel."""

import numpy as np
import numpy.typing as npt
import pytest

from oq.errors import OptionError
from oq.numerics.grid import fake_quantize, fit, quantize
from oq.numerics.values import INT4, INT8_NARROW, UINT4, UINT8, QType
from oq.numerics.weights import channel_range, weight_range
from tests import brute
from tests.small import reference, small

SEVEN = QType("int8", -7, 7, symmetric=True)


def weights() -> npt.NDArray[np.float32]:
    """Axes (out, in, kh, kw): channels of different widths and tails, one dead, one constant."""
    random = np.random.default_rng(0)
    found = (
        random.standard_t(3, (6, 40, 3, 3))
        * np.asarray([1, 10, 0.01, 3, 0, 0])[:, None, None, None]
    )
    found[5] = -0.25
    result: npt.NDArray[np.float32] = found.astype(np.float32)
    return result


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_max_is_each_channels_reach(axis: int) -> None:
    values = weights()
    found = weight_range(values, INT8_NARROW, axis)
    for i in range(values.shape[axis]):
        channel = np.take(values, i, axis)
        assert found.lo[i] == min(channel.min(), 0) and found.hi[i] == max(channel.max(), 0)


@pytest.mark.parametrize("qtype", [INT8_NARROW, SEVEN], ids=lambda q: str(q.qmax))
def test_mse_errs_least_in_every_channel(qtype: QType) -> None:
    """No hundredth between 0.4 and 1 errs less; channels do not influence each other."""
    values = weights()
    found = weight_range(values, qtype, 0, "mse")
    grid = fit(found, qtype, 0)
    for i, channel in enumerate(values):
        reach = float(np.abs(channel).max())
        error = (brute.error(channel, float(grid.scale[i]), 0, qtype) ** 2).sum()
        for share in np.linspace(0.4, 1.0, 61) if reach else ():
            other = (brute.error(channel, share * reach / qtype.qmax, 0, qtype) ** 2).sum()
            assert error <= 1.001 * other + 1e-9 * reach**2
        alone = weight_range(channel[None], qtype, 0, "mse")
        assert (found.lo[i], found.hi[i]) == (alone.lo[0], alone.hi[0])


def test_mse_clips_where_it_pays_and_only_there() -> None:
    values = weights()
    full, found = (weight_range(values, SEVEN, 0, m) for m in ("max", "mse"))
    assert (found.hi[:4] < 0.95 * full.hi[:4]).all()
    assert (found.lo[4], found.hi[4]) == (0.0, 0.0)
    assert found.lo[5] == -0.25


def test_one_range_for_all() -> None:
    values = weights()
    assert weight_range(values, UINT8, None).lo == values.min()
    found = weight_range(values, UINT8, None, "mse")
    assert found.lo.shape == () and values.min() <= found.lo <= 0 <= found.hi <= values.max()


def test_no_values() -> None:
    for method in ("max", "mse"):
        found = weight_range(np.zeros((0, 3), np.float32), INT8_NARROW, None, method)
        assert found.lo == found.hi == 0


def test_zero_belongs_to_every_range() -> None:
    found = channel_range(np.asarray([[1.0, 2.0], [-3.0, -1.0]], np.float32), 0)
    assert found.lo.tolist() == [0.0, -3.0] and found.hi.tolist() == [2.0, 0.0]


def test_unknown_method() -> None:
    with pytest.raises(OptionError, match="--weights 'best': expected max or mse"):
        weight_range(weights(), INT8_NARROW, 0, "best")


@pytest.mark.parametrize("method", ["max", "mse"])
@pytest.mark.parametrize("axis", [0, 1])
def test_blocks_along_an_axis(axis: int, method: str) -> None:
    """Each block is what a tensor of its own would be; onnxruntime reads the codes the same way."""
    values = np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32)
    found = fit(weight_range(values, INT4, axis, method, 4), INT4, axis, 4)
    assert found.scale.shape == ((2, 12) if axis == 0 else (8, 3))
    for i, j in ((0, 0), (1, 2)):
        part = values[4 * i : 4 * i + 4, j] if axis == 0 else values[j, 4 * i : 4 * i + 4]
        alone = fit(weight_range(part, INT4, None, method), INT4)
        assert found.scale[(i, j) if axis == 0 else (j, i)] == alone.scale
    text = f"""net () => (float[8,12] y) {{
        y = DequantizeLinear <axis = {axis}, block_size = 4> (c, s, z)
    }}"""
    constants = {"c": quantize(values, found), "s": found.scale, "z": found.zero_point}
    model = small(text, constants, opset=21, ir=10)
    assert np.array_equal(reference(model, {})["y"], fake_quantize(values, found))


@pytest.mark.parametrize("qtype", [INT4, UINT4, UINT8], ids=str)
@pytest.mark.parametrize("method", ["max", "mse"])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_last_block_may_be_shorter(axis: int, method: str, qtype: QType) -> None:
    """10 values in blocks of 4: the last two are a block, as onnxruntime reads them."""
    values = np.random.default_rng(1).normal(0.3, 1, size=(10, 10)).astype(np.float32)
    found = fit(weight_range(values, qtype, axis, method, 4), qtype, axis, 4)
    assert found.scale.shape == ((3, 10) if axis == 0 else (10, 3))
    part = values[8:, 7] if axis == 0 else values[7, 8:]
    alone = fit(weight_range(part, qtype, None, method), qtype)
    assert found.scale[(2, 7) if axis == 0 else (7, 2)] == alone.scale
    text = f"""net () => (float[10,10] y) {{
        y = DequantizeLinear <axis = {axis}, block_size = 4> (c, s, z)
    }}"""
    constants = {"c": quantize(values, found), "s": found.scale, "z": found.zero_point}
    model = small(text, constants, opset=21, ir=10)
    assert np.array_equal(reference(model, {})["y"], fake_quantize(values, found))
