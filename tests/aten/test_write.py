"""Files of torch of the bundled models: what they compute, hold and keep to themselves."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.artifacts.artifact import open_artifact
from oq.model.session import Session, Settings
from tests.aten.made import SUFFIX, deployed, images, quantized, write
from tests.small import floats, small

torch = pytest.importorskip("torch")

CASES = [
    ("residual", "dpu", "torchscript"),
    ("residual", "ort", "torchscript"),
    ("separable", "trt", "torchscript"),
    ("transformer", "coreml", "torchscript"),
    ("residual", "dpu", "pt2"),
    ("transformer", "ort", "pt2"),
]


def load(path: Path) -> Any:
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    return torch.jit.load(str(path))


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize(("name", "target", "form"), CASES)
def test_the_bundled_models(name: str, target: str, form: str) -> None:
    """Batches of other sizes than the file was made on, beside onnxruntime's literal mode."""
    path, found = deployed(name, target, form)
    assert found.facts["free axes"] == "axis 0 of 'input'" and not found.notes
    loaded = load(path)
    session = Session(quantized(name, target).model, Settings(reading="literal"))
    for count in (1, 7):
        x = images(count)
        with torch.no_grad():
            mine = loaded(torch.from_numpy(x)).numpy()
        exact = session.run({"input": x})[0]
        assert mine.shape == exact.shape and (mine.argmax(1) == exact.argmax(1)).all()
        if target == "dpu":
            np.testing.assert_allclose(mine, exact, rtol=0, atol=1e-6)
        assert np.linalg.norm(mine - exact) < 0.01 * np.linalg.norm(exact)


@pytest.mark.parametrize("form", sorted(SUFFIX))
def test_weights_are_codes_in_a_file_no_larger_than_the_onnx_file(form: str) -> None:
    path, found = deployed("residual", "dpu", form)
    codes = sum(
        int(np.prod(t.dims))
        for t in quantized("residual", "dpu").model.graph.initializer
        if t.data_type == onnx.TensorProto.INT8 and t.dims
    )
    assert found.facts["constants"].startswith(f"{codes:,} bytes of int8")
    assert codes < path.stat().st_size < 1.1 * found.before


@pytest.mark.parametrize("form", sorted(SUFFIX))
def test_the_same_file_twice_in_one_process(
    form: str,
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Torch numbers its classes by process, keeps paths and inputs, and warns: none is left."""
    first, path = deployed("residual", "dpu", form)[0].read_bytes(), tmp_path / SUFFIX[form]
    recwarn.clear()
    write("residual", "dpu", form, path)
    assert not recwarn.list and capfd.readouterr() == ("", "")
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as held:
        whole = b"".join(held.read(n) for n in held.namelist())
        said = json.loads(held.read("archive/extra/oq.json"))
    assert b"mangle" not in whole and str(Path(oq.__file__).parent).encode() not in whole
    assert said["target"] == "dpu" and said["oq"] == oq.__version__
    assert said["inputs"] == [{"name": "input", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]


def test_torch_alone_loads_both(tmp_path: Path) -> None:
    """In a process that has no oq, no onnx and no onnxruntime."""
    for form in SUFFIX:
        shutil.copy(deployed("residual", "dpu", form)[0], tmp_path)
    x = images(5)
    exact = Session(quantized("residual", "dpu").model, Settings("literal")).run({"input": x})[0]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", exact)
    text = """
import sys, warnings
sys.modules.update(dict.fromkeys(("oq", "onnx", "onnxruntime", "onnxscript"), None))
import numpy, torch
warnings.simplefilter("ignore")
x, y = (torch.from_numpy(numpy.load(n)) for n in ("x.npy", "y.npy"))
script = torch.jit.load("residual.dpu.pt")
program = torch.export.load("residual.dpu.pt2").module()
with torch.no_grad():
    for found in (script(x), script(input=x), program(x), program(x[:1])):
        assert torch.equal(found, y[: len(found)])
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "fine\n", done.stderr


RESIZE = """net (float[n,1,h,4] x) => (float[n,1,p,4] y) {
    q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    y = Resize <mode = "linear"> (d, , f)
}"""


def resizing(tmp_path: Path) -> tuple[Path, Path]:
    """A model whose output positions depend on a free height, and samples."""
    constants = {"s": floats(0.02).reshape(()), "z": np.asarray(3, np.int8),
                 "f": floats(1, 1, 2, 1)}  # fmt: skip
    path, data = tmp_path / "r.onnx", tmp_path / "x.npz"
    onnx.save(small(RESIZE, constants, opset=19), path)
    np.savez(data, x=np.random.default_rng(0).normal(size=(4, 1, 6, 4)).astype(np.float32))
    return path, data


def test_an_axis_that_a_trace_would_fix_is_refused(tmp_path: Path) -> None:
    path, data = resizing(tmp_path)
    with pytest.raises(oq.ModelError, match=r"axis 2 of 'x'.*'h' is free.*--shape"):
        oq.deploy(path, "torchscript", data=data)
    assert not path.with_suffix(".pt").exists()
    found = oq.deploy(path, "torchscript", data=data, shape={"x": (None, 1, 6, 4)})
    assert found.facts["free axes"] == "axis 0 of 'x'"


def test_an_axis_that_torch_fixes_is_told(tmp_path: Path) -> None:
    path, data = resizing(tmp_path)
    found = oq.deploy(path, "pt2", data=data)
    assert found.facts["free axes"] == "axis 0 of 'x'"
    assert "had to fix axis 2 of 'x'" in found.notes[0]
    x = np.load(data)["x"][:3]
    (mine,) = open_artifact(found.output).run({"x": x})
    exact = Session(onnx.load(path), Settings(reading="literal")).run({"x": x})[0]
    np.testing.assert_allclose(mine, exact, atol=1e-6)


def test_an_axis_that_torch_fixes_has_the_size_of_the_sample(tmp_path: Path) -> None:
    """A size of 1 is doubled while torch may keep it free, and samples of other sizes are left
    out where it does not."""
    path, _ = resizing(tmp_path)
    rows = np.random.default_rng(1).normal(size=(3, 1, 1, 4)).astype(np.float32)
    mixed = [{"x": rows[:1]}, {"x": np.repeat(rows[:1], 5, 2)}, {"x": rows[1:]}]
    assert oq.deploy(path, "pt2", data=mixed).facts["free axes"] == "axis 0 of 'x'"
    found = oq.deploy(path, "pt2", data={"x": rows})
    assert "takes size 1, that of the first sample" in found.notes[0]
    (mine,) = open_artifact(found.output).run({"x": rows})
    exact = Session(onnx.load(path), Settings(reading="literal")).run({"x": rows})[0]
    np.testing.assert_allclose(mine, exact, atol=1e-6)
