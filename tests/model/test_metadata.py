"""The target in a file's metadata."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from oq.model.metadata import target_of


def test_the_target_is_read_from_a_model_and_from_a_file(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    )
    assert target_of(model) is None
    model.metadata_props.add(key="oq.target", value="dpu")
    onnx.save(model, tmp_path / "m.onnx")
    assert [target_of(model), target_of(tmp_path / "m.onnx")] == ["dpu", "dpu"]
