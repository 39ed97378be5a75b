"""A file read without its weights, and written from where they lie, has protobuf's own bytes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from oq.model import stored
from oq.model.files import load_light, load_model, save_model
from oq.model.stored import holds_stored, values_of, whole
from oq.model.wire import full_bytes, read_apart, write_full
from tests.small import normal, small

TWO = "net (float[n,32] x) => (float[n,32] y) { h = MatMul(x, w) y = MatMul(h, v) }"


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LEAST_MODEL", 1)
    monkeypatch.setattr(stored, "LEAST_TENSOR", 256)


def model() -> onnx.ModelProto:
    made = small(TWO, {"w": normal(32, 32), "v": normal(32, 32, seed=1), "few": normal(3)})
    made.doc_string, made.graph.doc_string = "a model", "a graph"
    made.metadata_props.add(key="k", value="v")
    made.graph.initializer[0].doc_string = "a weight"
    return made


def test_what_is_read_apart_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    data = model().SerializeToString(deterministic=True)
    path.write_bytes(data)
    light = read_apart(path)
    assert [len(t.raw_data) for t in light.graph.initializer] == [0, 0, 12]
    assert len(light.SerializeToString()) < len(data) / 4
    with (tmp_path / "again").open("wb") as file:
        write_full(light, file.write)
    assert (tmp_path / "again").read_bytes() == data
    assert full_bytes(light) == len(data) == full_bytes(model())
    assert whole(light) == model()


def test_external_data_is_left_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(model(), path, save_as_external_data=True, location="m.data", size_threshold=256)
    light = load_light(path)
    assert holds_stored(light) and whole(light) == load_model(path) == model()
    read = values_of(light.graph.initializer[1])
    assert np.array_equal(read, normal(32, 32, seed=1)) and not read.flags.writeable


@pytest.mark.parametrize("cut", [1, 40, 5000])
def test_a_file_that_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model().SerializeToString()[:-cut])
    with pytest.raises(DecodeError):
        read_apart(path)


def test_two_files_are_what_onnx_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oq.model.files.PROTOBUF_LIMIT", 100)
    path = tmp_path / "m.onnx"
    size = save_model(model(), path)
    assert size == sum(p.stat().st_size for p in tmp_path.iterdir())
    read = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    assert np.array_equal(read["w"], normal(32, 32))
    offsets = [
        int(e.value)
        for t in onnx.load(path, load_external_data=False).graph.initializer
        for e in t.external_data
        if e.key == "offset"
    ]
    assert offsets == [0, stored.ALIGNMENT]
