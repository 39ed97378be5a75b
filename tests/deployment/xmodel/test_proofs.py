"""A file that is not what the Q/DQ file says is caught, whatever is wrong with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oq
from oq.deployment.xmodel.graph import XirBuilder
from tests.xmodels import Written, image, lenet, quantized, saved, write


def ops(graph: Any, kind: str) -> list[Any]:
    return [op for op in graph.op_node if op.op_type == kind]


def one_position(graph: Any) -> None:
    """Of an activation."""
    relu = ops(graph, "relu")[0].op_name
    fix = next(op for op in ops(graph, "fix") if op.args[0].arg_ops[0] == relu)
    fix.op_attr["fix_point"].int32_value += 1


def one_parameter_position(graph: Any) -> None:
    fix = ops(graph, "fix")[1]
    fix.op_attr["fix_point"].int32_value -= 1


def one_code(graph: Any) -> None:
    """By one step."""
    const, fix = ops(graph, "const")[0], ops(graph, "fix")[1]
    slot = const.op_attr["data"].bytes_value
    values = np.frombuffer(slot.value, "<f4").copy()
    values[3] -= np.sign(values[3]) * 2.0 ** -fix.op_attr["fix_point"].int32_value
    slot.value = values.tobytes()


def one_layout(graph: Any) -> None:
    """OHWI weights as OWHI, of a square window."""
    slot = ops(graph, "const")[0].op_attr["data"].bytes_value
    values = np.frombuffer(slot.value, "<f4").reshape(6, 3, 3, 1)
    slot.value = values.transpose(0, 2, 1, 3).tobytes()


def columns(graph: Any) -> None:
    """The first linear layer in the order of the ONNX file."""
    const = next(op for op in ops(graph, "const") if list(op.output_tensor.tensor_dim) == [3, 20])
    slot = const.op_attr["data"].bytes_value
    values = np.frombuffer(slot.value, "<f4").reshape(3, 2, 2, 5)
    slot.value = values.transpose(0, 3, 1, 2).tobytes()


def one_pad(graph: Any) -> None:
    """Left and right exchanged for top and bottom: the shape stays."""
    pad = ops(graph, "conv2d")[0].op_attr["pad"].int32_vec_value.value
    pad[:] = [2, 0, 1, 1]


def one_round(graph: Any) -> None:
    for fix in ops(graph, "fix"):
        fix.op_attr["round_mode"].string_value = "PY3_ROUND"


def no_activation(graph: Any) -> None:
    relu = ops(graph, "relu")[0]
    fix = next(op for op in ops(graph, "fix") if op.args[0].arg_ops[0] == relu.op_name)
    fix.args[0].arg_ops[0] = relu.args[0].arg_ops[0]


def one_dim(graph: Any) -> None:
    ops(graph, "conv2d")[0].output_tensor.tensor_dim[3] = 7


def one_case(graph: Any) -> None:
    """An int where XIR reads a bool."""
    fix = ops(graph, "fix")[0].op_attr["if_signed"]
    fix.Clear()
    fix.int32_value = 1


def no_kernel(graph: Any) -> None:
    del ops(graph, "maxpool2d")[0].op_attr["kernel"]


def late(graph: Any) -> None:
    """The input behind what reads it."""
    first = type(graph.op_node[0])()
    first.CopyFrom(graph.op_node[0])
    del graph.op_node[0]
    graph.op_node.append(first)


CAUGHT: dict[Callable[[Any], None], tuple[str, str]] = {
    one_position: ("values", "codes differ"),
    one_parameter_position: ("parameters", "is not on its grid"),
    one_code: ("parameters", "1 codes of"),
    one_layout: ("parameters", "differ"),
    columns: ("parameters", "differ"),
    one_pad: ("values", "codes differ"),
    one_round: ("values", "codes differ"),
    no_activation: ("values", "codes differ"),
    one_dim: ("structure", "its tensor is [1, 8, 6, 7], which must be [1, 8, 6, 6]"),
    one_case: ("structure", "its attribute 'if_signed' is int32, not bool"),
    no_kernel: ("structure", "its attribute 'kernel' is missing"),
    late: ("structure", "it reads 'x', which does not stand before it"),
}


@pytest.fixture(scope="module")
def net() -> Written:
    return write(lenet())


@pytest.mark.parametrize("spoil", CAUGHT, ids=lambda f: f.__name__)
def test_what_is_wrong_is_caught(net: Written, spoil: Callable[[Any], None]) -> None:
    what, figures = CAUGHT[spoil]
    proofs = {p.what: p for p in net.proofs(net.change(spoil))}
    assert not proofs[what].passed and figures in proofs[what].figures
    assert all(p.passed for p in net.proofs())


def test_a_missing_multiplier_is_caught() -> None:
    graph, _ = image()
    graph.conv("x", "c")
    graph.node("AveragePool", ["c"], "y", kernel_shape=[3, 3])
    made = write(quantized(graph.model("y")))

    def drop(changed: Any) -> None:
        slot = ops(changed, "const")[-1].op_attr["data"].bytes_value
        slot.value = np.float32(1.0).tobytes()

    assert {p.what: p.passed for p in made.proofs(made.change(drop))}["values"] is False


def test_a_float_result_that_differs_is_caught() -> None:
    graph, _ = image()
    graph.conv("x", "c")
    graph.node("Softmax", ["c"], "y", axis=1)
    made = write(quantized(graph.model("y")))

    def other_axis(changed: Any) -> None:
        ops(changed, "softmax")[0].op_attr["axis"].int32_value = 1

    assert {p.what: p.passed for p in made.proofs()}["CPU ops"] is True
    assert {p.what: p.passed for p in made.proofs(made.change(other_axis))}["CPU ops"] is False


def test_a_writer_that_errs_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = XirBuilder.to_bytes
    file = saved(lenet(), tmp_path)

    def wrong(builder: XirBuilder, name: str, attributes: Any) -> bytes:
        for op in builder.ops:
            if op.attributes.get("pad") == (1, 1, 1, 1):
                object.__setattr__(op, "attributes", {**op.attributes, "pad": (2, 0, 1, 1)})
        return real(builder, name, attributes)

    monkeypatch.setattr(XirBuilder, "to_bytes", wrong)
    with pytest.raises(oq.ModelError, match=r"is not what the Q/DQ file computes.*codes differ"):
        oq.deploy(file, "xmodel")
    assert [f.name for f in tmp_path.iterdir()] == [file.name]
