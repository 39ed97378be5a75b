"""Declared types and shapes, rounding to float16, forced codes: on a small package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oq.artifacts.mlpackage.package import Package, open_file
from oq.errors import DataError, ModelError
from tests.mil import block_of, edit_model, operation_of, small_image, small_package


@pytest.fixture
def half(tmp_path: Path) -> Package:
    return open_file(small_package(tmp_path / "m.mlpackage", half=True))


def test_float16_is_rounded_where_it_is_declared(half: Package) -> None:
    feeds = {"x": small_image()}
    (codes,) = half.run(feeds, ["xq_cast_fp16"])
    found, exact = (
        half.run(feeds, ["c_cast_fp16"], {"xq_cast_fp16": codes}, exact=e)[0] for e in (False, True)
    )
    np.testing.assert_array_equal(found, found.astype(np.float16).astype(np.float32))
    assert (exact != exact.astype(np.float16)).mean() > 0.5
    np.testing.assert_allclose(found, exact, rtol=2**-10, atol=3e-3)


def test_forced_codes_reach_the_readers_and_the_computed_ones_are_told(half: Package) -> None:
    x = small_image()
    names = ["xq_cast_fp16", "xd_cast_fp16", "yq_cast_fp16"]
    codes, values, behind = half.run({"x": x}, names)
    np.testing.assert_allclose(values, codes * np.float32(0.05), rtol=1e-3)
    other = np.where(codes > 0, codes - 1, codes).astype(np.int8)
    told, moved, changed = half.run({"x": x}, names, {"xq_cast_fp16": other})
    np.testing.assert_array_equal(told, codes)
    np.testing.assert_allclose(moved, other * np.float32(0.05), rtol=1e-3)
    assert (changed != behind).any()


def test_what_cannot_be_forced_or_asked(half: Package) -> None:
    feeds = {"x": small_image()}
    with pytest.raises(ModelError, match="no tensor 'nothing'"):
        half.run(feeds, ["nothing"])
    with pytest.raises(ModelError, match="no tensor 'nothing'"):
        half.run(feeds, forced={"nothing": np.zeros(1)})
    with pytest.raises(ModelError, match=r"is int8 \(1, 3, 6, 6\); forced are int16"):
        half.run(feeds, forced={"xq_cast_fp16": np.zeros((1, 3, 6, 6), np.int16)})


def test_feeds_that_do_not_fit(half: Package) -> None:
    with pytest.raises(DataError, match="'x' of the package gets no data"):
        half.run({})
    with pytest.raises(DataError, match=r"takes \(1, 3, 6, 6\), got \(1, 3, 6, 7\)"):
        half.run({"x": np.zeros((1, 3, 6, 7), np.float32)})
    with pytest.raises(DataError, match="no input 'z'; available: x"):
        half.run({"z": small_image()})


def _shape(model: Any) -> None:
    dims = operation_of(model, "relu").outputs[0].type.tensorType.dimensions
    dims[1].constant.size = 5


def _dtype(model: Any) -> None:
    operation_of(model, "quantize").outputs[0].type.tensorType.dataType = 31


def _input(model: Any) -> None:
    relu = operation_of(model, "relu")
    relu.inputs["alpha"].CopyFrom(relu.inputs["x"])


def _kind(model: Any) -> None:
    operation_of(model, "relu").type = "softer_relu"


def _block(model: Any) -> None:
    operation_of(model, "relu").blocks.add()


def _pad(model: Any) -> None:
    for operation in block_of(model).operations:
        if operation.type == "const" and operation.outputs[0].name == "c_pad_0":
            value = operation.attributes["val"].immediateValue.tensor.ints.values
            value[0] = 2


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_shape, r"'r' \(relu\) is declared \(1, 5, 6, 6\), and is \(1, 4, 6, 6\)"),
        (_dtype, r"'xq' \(quantize\) is declared uint8, and is int8"),
        (_input, r"'r' \(relu\): input 'alpha' of 'relu' is none that oq knows"),
        (_kind, "operation 'softer_relu' is none that oq evaluates"),
        (_block, "holds blocks"),
        (_pad, r"'c' \(conv\) is declared \(1, 4, 6, 6\), and is \(1, 4, 7, 6\)"),
    ],
)
def test_a_program_that_contradicts_itself_is_refused(
    edit: Callable[[Any], None], said: str, tmp_path: Path
) -> None:
    package = small_package(tmp_path / "m.mlpackage")
    edit_model(package, edit)
    with pytest.raises(ModelError, match=said):
        open_file(package).run({"x": small_image()})
