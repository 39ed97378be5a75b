"""Every fault of structure is one line that names where it is, whatever the command."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from oq import pipeline
from oq.errors import ModelError
from oq.model.structure import check_structure
from tests.graphs import Net
from tests.odd_models import ODD


def sound() -> onnx.ModelProto:
    net = Net()
    return net.model(net.node("Relu", [net.conv(net.input("x"), "c")], "y"))


def function(name: str, *calls: str) -> onnx.FunctionProto:
    """``name`` calls other functions, or Relu, one after the other."""
    steps = [
        helper.make_node(op, [f"t{i}"], [f"t{i + 1}"], domain="f") for i, op in enumerate(calls)
    ]
    for step in steps:
        if step.op_type == "Relu":
            step.domain = ""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    return helper.make_function("f", name, ["t0"], [f"t{len(calls)}"], steps, imports)


def calling(model: onnx.ModelProto, *functions: onnx.FunctionProto) -> None:
    model.opset_import.append(helper.make_opsetid("f", 1))
    model.functions.extend(functions)
    relu = model.graph.node[1]
    relu.op_type, relu.domain = functions[0].name, "f"


def cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "y"


def own_result(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "y"


def written_twice(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = "y"


def written_over_a_constant(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "w_c"


def no_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 0


def odd_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 99


def odd_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 99


def too_few_bytes(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"abc"


def no_bytes(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].ClearField("raw_data")


def no_values(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 0


def overflowing(model: onnx.ModelProto) -> None:
    for axis in range(4):
        model.graph.initializer[0].dims[axis] = 2**40


def negative(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -4


def nothing_read(model: onnx.ModelProto) -> None:
    del model.graph.node[0].input[:]


def nothing_written(model: onnx.ModelProto) -> None:
    del model.graph.node[1].output[:]


def no_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].domain = "com.example"


def itself(model: onnx.ModelProto) -> None:
    calling(model, function("F", "F"))


def each_other(model: onnx.ModelProto) -> None:
    calling(model, function("F", "G"), function("G", "F"))


def doubling(model: onnx.ModelProto) -> None:
    deep = [function(f"F{i}", f"F{i + 1}", f"F{i + 1}") for i in range(22)]
    calling(model, *deep, function("F22", "Relu"))


def optional(model: onnx.ModelProto) -> None:
    inner = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"])
    kind = helper.make_optional_type_proto(helper.make_sequence_type_proto(inner))
    model.graph.input.append(helper.make_value_info("o", kind))


def nothing_said(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[1] = ""


def one_part(model: onnx.ModelProto) -> None:
    relu = model.graph.node[1]
    relu.op_type = "Split"
    relu.output.insert(0, "")


def no_producer(model: onnx.ModelProto) -> None:
    del model.graph.node[-1]


FAULTS: dict[Callable[[onnx.ModelProto], None], str] = {
    cycle: "node 'n_c' needs its own result",
    own_result: "node 'n_y' needs its own result",
    written_twice: "tensor 'y' is computed by several nodes",
    written_over_a_constant: "tensor 'w_c' is computed by a node, and is an input or a constant",
    no_producer: "output 'y' is computed by no node",
    no_type: "tensor 'x' has the unknown element type 0",
    odd_type: "tensor 'x' has the unknown element type 99",
    odd_constant: "constant 'w_c' has the unknown element type 99",
    too_few_bytes: r"constant 'w_c' of shape \[4, 4, 3, 3\] needs 576 bytes and has 3",
    no_bytes: "constant 'w_c' .* has another number of values",
    no_values: "needs 0 bytes and has 576",
    overflowing: "needs .* bytes and has 576",
    negative: r"has the shape \[-4, 4, 3, 3\]",
    nothing_read: r"node 'n_c' \(Conv\) has 0 inputs, not 2 to 3",
    nothing_written: r"node 'n_y' \(Relu\) has 0 outputs, not 1",
    nothing_said: r"node 'n_c' \(Conv\) has no name for its input 1",
    one_part: r"node 'n_y' \(Split\) has no name for its output 0",
    no_opset: "domain 'ai.onnx', for which the file imports no opset",
    itself: "function 'F' calls itself",
    each_other: "function '[FG]' calls itself",
    doubling: "its functions expand to 4,194,305 nodes",
    optional: "input 'o' is an? optional, not a tensor",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_a_broken_model_is_refused_in_a_line(fault: Callable[[onnx.ModelProto], None]) -> None:
    model = sound()
    fault(model)
    wanted = f"^the model cannot be read: .*{FAULTS[fault]}"
    with pytest.raises(ModelError, match=wanted):
        pipeline.make_plan(model, "ort")
    with pytest.raises(ModelError, match=wanted):
        pipeline.check(model, "trt")


@pytest.mark.parametrize("name", ODD)
def test_odd_models_are_sound(name: str) -> None:
    check_structure(ODD[name]())


def test_functions_that_end_are_expanded() -> None:
    model = sound()
    calling(model, function("F", "G", "G"), function("G", "Relu"))
    check_structure(model)
    assert len(pipeline.make_plan(model, "ort").groups) >= 1


def test_packed_and_scalar_constants() -> None:
    model = sound()
    for name, kind, dims, raw in (
        ("four", TensorProto.INT4, [3], b"\x21\x03"),
        ("one", TensorProto.FLOAT, [], np.float32(1).tobytes()),
        ("none", TensorProto.FLOAT, [0], b""),
    ):
        model.graph.initializer.append(
            TensorProto(name=name, data_type=kind, dims=dims, raw_data=raw)
        )
    check_structure(model)
