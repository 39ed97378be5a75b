"""TorchScript is read where it computes, and refused before it is loaded where it does more."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import oq
from oq.errors import DataError, ModelError
from oq.model.session import SERIAL, run
from tests.aten.made import deployed, images, quantized

torch = pytest.importorskip("torch")
from oq.artifacts.torchfiles.script import open_file  # noqa: E402


@pytest.mark.filterwarnings("error")
def test_outputs_grids_and_layers() -> None:
    found = open_file(deployed("residual", "dpu", "torchscript")[0])
    x = images(6)
    made = quantized("residual", "dpu").model
    exact = run(made, {"input": x}, settings=SERIAL)
    np.testing.assert_array_equal(found.run({"input": x})[0], exact["logits"])
    held = found.contents()
    ops = [n.op_type for n in made.graph.node]
    assert len(held.activations) == ops.count("QuantizeLinear")
    assert {u.dtype for u in held.activations} == {"int8"} and held.ops["_convolution"] == 8
    assert sum(u.dtype == "int8" for u in held.weights) == len(held.weights) == 18
    assert found.integer_layers() == (0, 9) and held.facts["oq.target"] == "dpu"


def test_zero_points_are_told() -> None:
    """Of ``ort``'s activations, which have some."""
    told = oq.inspect(deployed("residual", "ort", "torchscript")[0])
    mine = oq.inspect(quantized("residual", "ort").model)
    points, found = ([u.zero_point or (0, 0) for u in c.activations] for c in (mine, told))
    assert any(any(p) for p in points)
    assert sorted(found) == sorted(points)


def test_a_batch_of_another_shape_is_the_user_s() -> None:
    found = open_file(deployed("residual", "dpu", "torchscript")[0])
    with pytest.raises(DataError, match="fails on this batch"):
        found.run({"input": np.zeros((1, 5, 8, 8), np.float32)})


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_code_that_writes_a_file_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = rewritten(tmp_path, "    return", '    torch.save(input, "written.bin")\n    return')
    with pytest.raises(ModelError, match=r"a call of torch.save, which oq does not run"):
        open_file(made)
    assert not Path("written.bin").exists()


def test_a_method_that_runs_when_a_file_is_loaded_is_refused(tmp_path: Path) -> None:
    made = rewritten(tmp_path, "  def forward", "  def __setstate__")
    with pytest.raises(ModelError, match="a method __setstate__"):
        open_file(made)


def rewritten(folder: Path, old: str, new: str) -> Path:
    """The file with other code."""
    source, path = deployed("residual", "dpu", "torchscript")[0], folder / "m.pt"
    with zipfile.ZipFile(source) as held, zipfile.ZipFile(path, "w") as made:
        for name in held.namelist():
            data = held.read(name)
            if name.endswith(".py"):
                assert old.encode() in data
                data = data.replace(old.encode(), new.encode(), 1)
            made.writestr(name, data)
    return path


def test_what_is_no_archive_of_oq_is_said(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(b"half")
    with pytest.raises(ModelError, match="is not an archive of torch"):
        open_file(tmp_path / "m.pt")
    torch.save({"w": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="which TorchScript of oq deploy does not"):
        open_file(tmp_path / "w.pt")


def test_a_second_file_of_one_name_is_refused(tmp_path: Path) -> None:
    """Two readers of a zip may take different ones."""
    path = tmp_path / "m.pt"
    shutil.copy(deployed("residual", "dpu", "torchscript")[0], path)
    with zipfile.ZipFile(path, "a") as made:
        name = next(n for n in made.namelist() if n.endswith(".py"))
        made.writestr(name.upper().replace("ARCHIVE", "archive"), "x")
    with pytest.raises(ModelError, match="two files of one name"):
        open_file(path)


def test_verify_takes_it() -> None:
    path = deployed("residual", "dpu", "torchscript")[0]
    model = Path(oq.__file__).parents[1] / "models" / "bundled" / "residual.onnx"
    found = oq.verify(model, path, {"input": images(32)}, latency=False)
    assert found.deployed.outputs[0].sqnr_db > 20
