"""A model in memory names no files: they could be any."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import oq
from oq.errors import ModelError
from oq.exporting.load import load
from tests.graphs import Net


def outside(location: str) -> onnx.ModelProto:
    """A product whose weight lies at ``location``."""
    net = Net()
    net.node("MatMul", [net.input("x", ("n", 4)), net.weight("w", 4, 4)], "y")
    model = net.model("y")
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "64")):
        weight.external_data.add(key=key, value=value)
    return model


@pytest.mark.parametrize("absolute", [True, False])
def test_weights_in_files_are_refused(tmp_path: Path, absolute: bool) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones((4, 4), np.float32).tobytes())
    model = outside(str(secret) if absolute else "secret.bin")
    with pytest.raises(ModelError, match=r"leaves the values of tensor 'w' in a file; give the"):
        load(model)
    with pytest.raises(ModelError, match=r"tensor 'w'"):
        oq.quantize(model, "ort", np.ones((8, 4), np.float32), verify=False)
    (tmp_path / "inner").mkdir()
    onnx.save(model, tmp_path / "inner" / "m.onnx")
    with pytest.raises(ModelError, match="w"):  # there it must lie beside the model
        load(tmp_path / "inner" / "m.onnx")
