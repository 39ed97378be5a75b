"""Ranges as files: both kinds, there and back, and between targets."""

import json
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oq
from oq.calibration.ranges import read_ranges, write_ranges
from oq.errors import DataError, OptionError
from oq.numerics.values import Array, Range
from tests.graphs import Net

X = np.random.default_rng(0).normal(size=(20, 4, 8, 8)).astype(np.float32)


def ends(ranges: dict[str, Range]) -> dict[str, tuple[float, float]]:
    return {t: (float(r.lo), float(r.hi)) for t, r in ranges.items()}


def make(**found: tuple[float, float]) -> dict[str, Range]:
    return {t: Range(np.asarray(lo), np.asarray(hi)) for t, (lo, hi) in found.items()}


BOUND = st.floats(0, 1e8)


@given(st.dictionaries(st.text(min_size=1), st.tuples(BOUND.map(lambda v: -v), BOUND)))
def test_json_gives_back_every_bit(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, tuple[float, float]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "ranges.json"
    write_ranges(make(**found), path)
    assert ends(read_ranges(path)) == found


def test_a_table_is_what_tensorrt_writes(tmp_path: Path) -> None:
    """A line per tensor: the float32 of amax / 127, big-endian, in hex."""
    path = tmp_path / "calibration.cache"
    write_ranges(make(input=(0.0, 1.0), **{"a:0": (-3.5, 2.0)}), path)
    header, *lines = path.read_text().splitlines()
    assert header.startswith("TRT-") and "-EntropyCalibration2" in header
    found = dict(line.rsplit(": ", 1) for line in lines)
    (scale,) = struct.unpack(">f", bytes.fromhex(found["a:0"]))
    assert scale == np.float32(3.5 / 127)
    assert found["input"] == "3c010204"  # 1/127, as in NVIDIA's own tables
    assert ends(read_ranges(path))["a:0"] == pytest.approx((-3.5, 3.5))


def test_a_table_of_nvidias_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text(
        "TRT-8601-MinMaxCalibration\ndata: 3caa5293\n(Unnamed Layer* 3) [Conv]_output: 3f800000\n\n"
    )
    found = ends(read_ranges(path))
    assert found["(Unnamed Layer* 3) [Conv]_output"] == (-127.0, 127.0)
    (scale,) = struct.unpack(">f", bytes.fromhex("3caa5293"))
    assert found["data"] == (-127 * scale, 127 * scale)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither JSON nor a calibration table"),
        ("\n\n", "neither JSON nor a calibration table"),
        ("hello\nx: 3f800000", "no TRT- header"),
        ("TRT-1-x\na: 3f800000\nb: 3f8000\n", "line 3: expected 'tensor: <8 hex digits>'"),
        ("TRT-1-x\na: zzzzzzzz", "line 2: expected 'tensor: <8 hex digits>', found 'a: zzzzzzzz'"),
        ("TRT-1-x\na: 7fc00000", "line 2: expected"),  # NaN
        ("TRT-1-x\na: bf800000", "line 2: expected"),  # negative
        ("TRT-1-x\n3f800000", "line 2: no colon in '3f800000'"),
        ("{", r'expected {"ranges": {"tensor": \[lo, hi\]}} with lo <= 0 <= hi'),
        ('{"range": {}}', "expected"),
        ('{"ranges": {"a": [1, 2]}}', "lo <= 0 <= hi"),
        ('{"ranges": {"a": [NaN, 2]}}', "lo <= 0 <= hi"),
        ('{"ranges": {"a": [-1]}}', "lo <= 0 <= hi"),
        ('{"ranges": [1]}', "expected"),
        ('{"ranges": {"a": ["x", 2]}}', "expected"),
    ],
)
def test_what_is_not_ranges_is_refused_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "ranges"
    path.write_text(text)
    with pytest.raises(DataError, match=message.replace("{", r"\{").replace("}", r"\}")):
        read_ranges(path)


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no ranges file at"):
        read_ranges(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="neither JSON nor a calibration table"):
        read_ranges(tmp_path / "binary")
    with pytest.raises(OptionError, match="does not exist"):
        write_ranges({}, tmp_path / "no" / "such.json")


# ---- in a run


def network() -> onnx.ModelProto:
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    net.node("MaxPool", ["r"], "p", kernel_shape=[2, 2], strides=[2, 2])
    net.node("Relu", [net.conv("p", "d")], "q")
    return net.model("q")


def scales(model: onnx.ModelProto) -> dict[str, Array]:
    found = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    return {k: v for k, v in found.items() if k.endswith(("_scale", "_zero_point"))}


@pytest.mark.parametrize("target", ["ort", "trt"])
def test_ranges_of_a_run_make_the_same_file_without_data(tmp_path: Path, target: str) -> None:
    first = oq.quantize(network(), target, X, verify=False, refine="none")
    write_ranges(first.ranges, tmp_path / "r.json")
    second = oq.quantize(network(), target, ranges=tmp_path / "r.json")
    assert second.report.samples == 0
    assert scales(second.model).keys() == scales(first.model).keys()
    for name, value in scales(first.model).items():
        assert np.array_equal(scales(second.model)[name], value), name


@pytest.mark.parametrize(("origin", "other"), [("trt", "ort"), ("ort", "trt")])
@pytest.mark.parametrize("name", ["r.json", "calibration.cache"])
def test_ranges_are_placed_anew_under_another_targets_rules(
    tmp_path: Path, origin: str, other: str, name: str
) -> None:
    """Every activation of the other target gets the scale its grid has for the imported range."""
    write_ranges(
        oq.quantize(network(), origin, X, verify=False, refine="none").ranges, tmp_path / name
    )
    given = ends(read_ranges(tmp_path / name))
    # TensorRT leaves the output in float, so its table lacks the one range that ort measures.
    data = X if other == "ort" else None
    found = oq.quantize(network(), other, data, ranges=tmp_path / name, verify=False, refine="none")
    measured = oq.quantize(network(), other, X, verify=False, refine="none")
    assert scales(found.model).keys() == scales(measured.model).keys()
    lo, hi = given["x"]
    expected = max(-lo, hi) / 127 if other == "trt" else (hi - lo) / 255
    assert float(scales(found.model)["x_scale"]) == pytest.approx(expected, rel=1e-6)
    for key, value in scales(measured.model).items():
        if key.endswith("_scale"):  # a symmetric range is up to twice what an affine one needs
            ratio = np.asarray(scales(found.model)[key] / value)
            assert (ratio > 0.95).all() and (ratio < 2.05).all(), key


def test_tensors_that_the_file_lacks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"ranges": {"x": [-4, 4]}}))
    with pytest.raises(
        DataError, match=r"^\d+ tensors cannot be calibrated without data \(the first is '[rcpqd]'"
    ):
        oq.quantize(network(), "ort", ranges=path)
    path.write_text(json.dumps({"ranges": {"other": [-4, 4]}}))
    with pytest.raises(DataError, match=r"holds no tensor that is calibrated; .*'x'"):
        oq.quantize(network(), "ort", ranges=path)


def test_data_fills_what_the_file_lacks(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"ranges": {"x": [-12.7, 1]}}))
    found = scales(oq.quantize(network(), "trt", X, ranges=path, verify=False, refine="none").model)
    plain = scales(oq.quantize(network(), "trt", X, verify=False, refine="none").model)
    assert float(found["x_scale"]) == pytest.approx(0.1)
    assert {k for k, v in plain.items() if not np.array_equal(v, found[k])} == {
        k for k in plain if k.startswith(("x_", "b_c_"))
    } - {k for k in plain if k.endswith("_zero_point")}
