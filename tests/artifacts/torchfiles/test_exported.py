"""torch.export archives are evaluated node by node, and nothing of them is run."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.errors import DataError, ModelError
from oq.model.session import SERIAL, run
from tests.aten.made import deployed, images, quantized
from tests.small import floats, small

torch = pytest.importorskip("torch")
from oq.artifacts.torchfiles.exported import open_file  # noqa: E402


def test_outputs_grids_and_layers() -> None:
    found = open_file(deployed("residual", "dpu", "pt2")[0])
    x, made = images(6), quantized("residual", "dpu").model
    exact = run(made, {"input": x}, settings=SERIAL)["logits"]
    np.testing.assert_array_equal(found.run({"input": x})[0], exact)
    held = found.contents()
    ops = [n.op_type for n in made.graph.node]
    assert len(held.activations) == ops.count("QuantizeLinear") and held.ops["conv2d"] == 8
    scales = {onnx.numpy_helper.to_array(t).item() for t in made.graph.initializer
              if not t.dims and t.data_type == onnx.TensorProto.FLOAT}  # fmt: skip
    assert {u.scale[0] for u in held.activations if u.scale} <= scales
    assert len(held.weights) == 18 and found.integer_layers() == (0, 9)


def test_sizes_are_computed(tmp_path: Path) -> None:
    """Of a graph that reads its own shape: for a batch and a length it was not made with."""
    text = """net (float[n,l,4] x) => (float[m,2] y) {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        t = Shape(d)
        a = Gather(t, i)
        b = Mul(a, k)
        c = Concat <axis = 0> (b, e)
        y = Reshape(d, c)
    }"""
    constants = {"s": floats(0.02).reshape(()), "z": np.asarray(3, np.uint8), "i": np.asarray([0]),
                 "k": np.asarray([2]), "e": np.asarray([-1])}  # fmt: skip
    model = small(text.replace("float[m,2]", "float[m,w]"), constants)
    onnx.save(model, tmp_path / "m.onnx")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(4, 3, 4)).astype(np.float32))
    made = oq.deploy(tmp_path / "m.onnx", "pt2", data=tmp_path / "x.npz")
    assert made.facts["free axes"] == "axis 0 of 'x', axis 1 of 'x'"
    x = rng.normal(size=(5, 6, 4)).astype(np.float32)
    found = open_file(Path(made.output)).run({"x": x})[0]
    np.testing.assert_array_equal(found, run(model, {"x": x}, settings=SERIAL)["y"])


def changed(folder: Path, file: str, change: Callable[[Any], None]) -> Path:
    """The file with one JSON document of it changed."""
    source, path = deployed("residual", "dpu", "pt2")[0], folder / "m.pt2"
    with zipfile.ZipFile(source) as held, zipfile.ZipFile(path, "w") as made:
        for name in held.namelist():
            data = held.read(name)
            if name.endswith(file):
                document = json.loads(data)
                change(document)
                data = json.dumps(document).encode()
            made.writestr(name, data)
    return path


def nodes(document: Any) -> Any:
    return document["graph_module"]["graph"]["nodes"]


STRANGE = ["torch.load", "torch.ops.aten.from_file.default", "#x", "_operator.attrgetter"]


@pytest.mark.parametrize("target", STRANGE)
def test_a_function_that_does_more_than_compute_is_refused(target: str, tmp_path: Path) -> None:
    path = changed(tmp_path, "model.json", lambda d: nodes(d)[0].update(target=target))
    with pytest.raises(ModelError, match="which oq does not run from a file"):
        open_file(path)


def test_text_that_torch_would_run_is_not(tmp_path: Path) -> None:
    """Guards and formulas of sizes, which torch's loader evaluates as Python."""
    mark = tmp_path / "written"

    def change(document: Any) -> None:
        document["guards_code"] = [f"open({str(mark)!r}, 'w') is None"]
        for meta in document["graph_module"]["graph"]["tensor_values"].values():
            meta["sizes"] = [{"as_expr": {"expr_str": f"open({str(mark)!r}, 'w')", "hint": None}}]

    found = open_file(changed(tmp_path, "model.json", change))
    found.run({"input": images(2)})
    assert not mark.exists()


def test_pickles_are_not_read(tmp_path: Path) -> None:
    def change(document: Any) -> None:
        next(iter(document["config"].values()))["use_pickle"] = True

    with pytest.raises(ModelError, match="as a pickle"):
        open_file(changed(tmp_path, "weights_config.json", change))


def test_damage_is_said(tmp_path: Path) -> None:
    path = changed(tmp_path, "model.json", lambda d: d["graph_module"].pop("signature"))
    with pytest.raises(ModelError, match="is damaged"):
        open_file(path)
    path = changed(tmp_path, "oq.json", lambda d: d.pop("inputs"))
    with pytest.raises(ModelError, match="is damaged"):
        open_file(path)


def test_a_batch_of_another_shape_is_the_user_s() -> None:
    found = open_file(deployed("residual", "dpu", "pt2")[0])
    with pytest.raises(DataError, match="fails on this batch"):
        found.run({"input": np.zeros((1, 5, 8, 8), np.float32)})


def test_infinities_are_text_in_a_file(tmp_path: Path) -> None:
    """What a MaxPool pads with."""
    text = """net (float[n,1,6,6] x) => (float[n,1,3,3] y) {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (d)
    }"""
    model = small(text, {"s": floats(0.02).reshape(()), "z": np.asarray(0, np.int8)})
    onnx.save(model, tmp_path / "m.onnx")
    x = -np.random.default_rng(0).uniform(1, 2, (4, 1, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    made = oq.deploy(tmp_path / "m.onnx", "pt2", data=tmp_path / "x.npz")
    found = open_file(Path(made.output)).run({"x": x})[0]
    np.testing.assert_array_equal(found, run(model, {"x": x}, settings=SERIAL)["y"])
