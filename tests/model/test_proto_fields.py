"""What graphsurgeon does not carry comes out as it went in."""

import numpy as np
import onnx
from onnx import numpy_helper

from oq.model.graph import Graph
from oq.model.proto_fields import oldest_ir, put_constants, without_empty_ends, without_graph
from tests.small import reference, small

CODES = np.arange(-8, 8, dtype=np.int8).reshape(4, 4)
TEXT = """net () => (float[4,4] y) { y = DequantizeLinear <axis = 0, block_size = 2> (c, s) }"""


def four_bits() -> onnx.ModelProto:
    scale = np.asarray([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    return small(TEXT, {"c": CODES.astype("int4"), "s": scale}, opset=21, ir=10)


def test_four_bit_constants_pass_through_a_graph() -> None:
    model = four_bits()
    made = Graph(model).to_model()
    onnx.checker.check_model(made, full_check=True)
    kept = next(t for t in made.graph.initializer if t.name == "c")
    assert kept.data_type == onnx.TensorProto.INT4 and len(kept.raw_data) == 8
    assert np.array_equal(reference(made, {})["y"], reference(model, {})["y"])


def test_a_graph_can_be_written_twice() -> None:
    graph = Graph(four_bits())
    assert graph.to_model().SerializeToString() == graph.to_model().SerializeToString()
    assert np.array_equal(graph.view().constants["c"].astype(np.int8), CODES)


def test_put_constants_touches_only_those_named() -> None:
    model = four_bits()
    put_constants(model, {"s": np.ones((2, 4), np.float32)})
    kept = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert np.array_equal(kept["s"], np.ones((2, 4)))
    assert np.array_equal(kept["c"].astype(np.int8), CODES)


def test_without_graph_keeps_the_rest() -> None:
    model = four_bits()
    model.producer_name = "someone"
    shell = without_graph(model)
    assert shell.producer_name == "someone" and not shell.graph.node
    assert [o.version for o in shell.opset_import] == [o.version for o in model.opset_import]
    assert oldest_ir(model.opset_import) >= 10


def test_what_is_left_out_at_the_end_of_standard_nodes_goes() -> None:
    model = small(
        """net (float[n,4] x, bool c) => (float[n,4] y) {
            a = LayerNormalization (x, w, "")
            b = Clip (a, "", w)
            d, "" = Dropout (b, "")
            e = com.example.Mystery (d, "")
            y = If (c) <
                then_branch = yes () => (float[n,4] t) { t = Clip (e, "", "") },
                else_branch = no () => (float[n,4] s) { s = Relu (e) }
            >
        }"""
    )
    made = without_empty_ends(model)
    assert [list(n.input) for n in made.graph.node[:4]] == [
        ["x", "w"],
        ["a", "", "w"],
        ["b"],
        ["d", ""],
    ]
    assert list(made.graph.node[2].output) == ["d"]
    assert list(made.graph.node[4].attribute[0].g.node[0].input) == ["e"]
    assert list(model.graph.node[0].input) == ["x", "w", ""]
    assert without_empty_ends(made) is made


def test_a_loop_keeps_the_two_inputs_that_it_must_have() -> None:
    """Without its empty condition ONNX's shape inference fails on it."""
    text = """net (float[n] x, int64 c) => (float[k,n] y) {
        y = Loop (c, ) <body = turn (int64 i, bool on) => (bool still, float[n] out) {
            still = Identity(on)
            out = Tanh(x)
        }>
    }"""
    model = small(text)
    model.graph.node[0].input[:] = ["c", ""]
    assert list(without_empty_ends(model).graph.node[0].input) == ["c", ""]
