"""The data files of a model are read with it, and nothing is written over them."""

from pathlib import Path

import onnx
import pytest

import oq
from oq.errors import OptionError
from oq.model.data_files import data_files, data_of
from oq.model.files import check_apart
from tests.small import normal, small


def with_data(folder: Path) -> Path:
    model = small("net (float[n,8] x) => (float[n,8] y) { y = MatMul(x, w) }", {"w": normal(8, 8)})
    path = folder / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="m.bin", size_threshold=0)
    return path


def test_each_file_is_named_once_and_what_is_no_model_has_none(tmp_path: Path) -> None:
    assert data_files(with_data(tmp_path)) == [tmp_path / "m.bin"]
    (tmp_path / "no.onnx").write_text("text")
    assert data_files(tmp_path / "no.onnx") == []
    assert not list(data_of({"model": tmp_path / "m.onnx"}, [tmp_path / "new"]))


def test_an_output_over_the_data_of_the_model_is_refused(tmp_path: Path) -> None:
    path = with_data(tmp_path)
    before = (tmp_path / "m.bin").read_bytes()
    with pytest.raises(OptionError, match=r"-o .*m.bin' is the data file of the model itself"):
        check_apart({"-o": tmp_path / "m.bin"}, {"model": path})
    made = oq.quantize(path, "ort", {"x": normal(8, 8)}, verify=False, refine="none")
    made.save(tmp_path / "q.onnx")
    check_apart({"-o": tmp_path / "q.onnx"}, {"model": path})
    assert (tmp_path / "m.bin").read_bytes() == before
