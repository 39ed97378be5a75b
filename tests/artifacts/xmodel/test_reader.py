"""The reader as ``oq verify`` and ``oq inspect`` use it, on files of oq and of others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oq.artifacts.artifact import Artifact, open_artifact
from oq.artifacts.xmodel.reader import open_file
from oq.errors import DataError, ModelError
from oq.numerics.values import TensorInfo
from tests.xmodels import Written, feeds_of, image, lenet, quantized, simulated, write


@pytest.fixture(scope="module")
def net() -> Written:
    return write(lenet())


def test_names_and_layout_are_the_onnx_file_s(net: Written, tmp_path: Path) -> None:
    file = tmp_path / "m.xmodel"
    file.write_bytes(net.data)
    opened = open_artifact(file)
    assert isinstance(opened, Artifact) and opened.format == "xmodel"
    assert opened.inputs == (TensorInfo("x", "float32", (1, 1, 8, 6)),)
    assert opened.outputs == (TensorInfo("y", "float32", (1, 10)),)
    assert opened.integer_layers() == (4, 0)


def test_contents(net: Written) -> None:
    found = net.read().contents()
    assert found.bytes == len(net.data)
    assert found.facts["loader"] == "no rule of AMD's loader is broken"
    assert "x = x 1x8x6x1" in found.facts["inputs"]
    assert (found.ops["conv2d"], found.ops["matmul"], found.ops["fix"]) == (2, 2, 14)
    assert len(found.weights) == 8 and len(found.activations) == 6
    assert all(g.dtype == "int8" and g.zero_point == (0, 0) for g in found.weights)
    scales = [g.scale for g in (*found.weights, *found.activations)]
    exponents = {float(np.log2(scale[0])) for scale in scales if scale is not None}
    assert None not in scales
    assert all(e.is_integer() for e in exponents)
    values = 6 * 9 + 6 + 5 * 6 * 6 + 5 + 3 * 20 + 3 + 30 + 10
    assert found.constants == {"float32": 4 * values}


def test_a_float_layer_is_counted_as_such() -> None:
    graph, _ = image()
    graph.conv("x", "c")
    graph.node("Sigmoid", ["c"], "s")
    graph.node("Conv", ["s", graph.weight("w", 2, 4, 1, 1)], "y")
    model = quantized(graph.model("y"), keep_float=("n_y",))
    made = write(model)
    assert made.read().integer_layers() == (1, 1)
    feeds = feeds_of(made.read())
    found, wanted = made.read().run(feeds)[0], simulated(made.model, feeds)["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_feeds_of_another_shape_are_refused(net: Written) -> None:
    opened = net.read()
    with pytest.raises(DataError, match=r"input 'x' .* takes \[1, 1, 8, 6\], not \[2, 1, 8, 6\]"):
        opened.run({"x": np.zeros((2, 1, 8, 6), np.float32)})
    with pytest.raises(DataError, match="not nothing"):
        opened.run({})


def test_a_file_without_oq_s_attributes_goes_by_its_ops(net: Written) -> None:
    """As AMD's quantizer writes it: outputs are the ops that nobody reads, images are NHWC."""

    def forget(graph: Any) -> None:
        graph.graph_attr.clear()

    plain, feeds = net.change(forget), feeds_of(net.read())
    assert [i.name for i in plain.inputs] == ["x"]
    assert [(o.name, o.shape) for o in plain.outputs] == [("n_y_fix", (1, 10))]
    np.testing.assert_array_equal(plain.run(feeds)[0], net.read().run(feeds)[0])


def test_a_shape_operand_is_read_as_amd_s_quantizer_writes_it(net: Written) -> None:
    """``reshape`` by a ``stack`` of constants in place of the attribute."""

    def by_operand(graph: Any) -> None:
        at = next(i for i, op in enumerate(graph.op_node) if op.op_type == "reshape")
        reshape = type(graph.op_node[0])()
        reshape.CopyFrom(graph.op_node[at])
        rest = list(graph.op_node[at + 1 :])
        del graph.op_node[at:]
        for number in (1, 20):
            const = graph.op_node.add(op_name=f"s{number}", op_type="const")
            const.op_attr["shape"].int32_vec_value.value.append(1)
            const.op_attr["data_type"].string_value = "float32"
            const.op_attr["data"].bytes_value.value = np.float32(number).tobytes()
            const.output_tensor.tensor_dim.append(1)
        stack = graph.op_node.add(op_name="stack", op_type="stack")
        stack.op_attr["axis"].int32_value = 0
        stack.args.add(arg_name="input", arg_ops=["s1", "s20"])
        stack.output_tensor.tensor_dim.extend([2, 1])
        for added in list(graph.op_node)[at:]:
            added.output_tensor.data_type, added.output_tensor.tensor_bit_width = 4, 32
        reshape.op_attr["shape"].int32_vec_value.value[:] = [0]
        reshape.args.add(arg_name="shape", arg_ops=["stack"])
        graph.op_node.extend([reshape, *rest])
        graph.subg_root.op_name[:] = [op.op_name for op in graph.op_node]

    changed, feeds = net.change(by_operand), feeds_of(net.read())
    assert changed.problems == () and changed.integer_layers() == (4, 0)
    np.testing.assert_array_equal(changed.run(feeds)[0], net.read().run(feeds)[0])


def test_a_file_that_breaks_a_rule_is_told_about_and_not_run(net: Written) -> None:
    def compiled(graph: Any) -> None:
        graph.op_node[0].op_type = "data-fix"

    opened = net.change(compiled)
    assert "op 'x' (data-fix): no op that oq reads" in opened.contents().facts["loader"]
    with pytest.raises(ModelError, match="breaks a rule of AMD's loader"):
        opened.evaluate({}, [])


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "holds no XIR graph"), (b"\x08\x08model", "not an xmodel that oq reads: 'string'")],
)
def test_what_is_no_xmodel(data: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "m.xmodel"
    file.write_bytes(data)
    with pytest.raises(ModelError, match=said):
        open_file(file)


def test_a_port_that_is_not_there(net: Written) -> None:
    def rename(graph: Any) -> None:
        graph.graph_attr["oq_ops"].map_string_2_string_value.value["y"] = "gone"

    with pytest.raises(ModelError, match="names an input or output 'y' that it has not"):
        net.change(rename)
