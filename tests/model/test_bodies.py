"""What a node with bodies reads: what they take from outside, at any depth, and nothing else."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from oq.model.bodies import bodies_of, captured_by, decides_by_values, make_piece, reads_of
from oq.model.session import run
from tests.small import small


def body(
    name: str, nodes: list[onnx.NodeProto], output: str, constants: tuple[str, ...] = ()
) -> onnx.GraphProto:
    values = [helper.make_tensor(c, TensorProto.FLOAT, (1,), [1.0]) for c in constants]
    return helper.make_graph(
        nodes, name, [], [onnx.ValueInfoProto(name=output)], initializer=values
    )


def branch(
    condition: str, output: str, then: onnx.GraphProto, other: onnx.GraphProto
) -> onnx.NodeProto:
    return helper.make_node("If", [condition], [output], then_branch=then, else_branch=other)


DEEP = body("deep", [helper.make_node("Mul", ["outer", "made"], ["d"])], "d")
THEN = body(
    "then",
    [
        helper.make_node("Add", ["x", "held"], ["made"]),
        branch("inner", "t", DEEP, body("plain", [], "x")),
        helper.make_node("Clip", ["t", "", "top"], ["then_out"]),
    ],
    "then_out",
    ("held",),
)
NODE = branch("flag", "y", THEN, body("else", [], "passed"))


def test_a_body_captures_what_it_reads_and_does_not_define() -> None:
    assert captured_by(THEN) == ["x", "inner", "top", "outer"]


def test_a_node_reads_its_inputs_and_what_its_bodies_capture() -> None:
    found = list(reads_of(NODE))
    assert found[0] == "flag"
    assert set(found) == {"flag", "x", "inner", "top", "outer", "passed"}


def test_bodies_are_named_by_their_attributes() -> None:
    assert [name for name, _ in bodies_of(NODE)] == ["else_branch", "then_branch"]
    assert not list(bodies_of(helper.make_node("Clip", ["x", "", "top"], ["y"], a=[1, 2])))


def test_a_resize_alone_is_given_its_sizes() -> None:
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest")
    whole = helper.make_model(
        helper.make_graph([node], "whole", [], []),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 18)],
    )
    given = {"x": np.ones((1, 2, 3, 3), np.float32), "sizes": np.array([1, 2, 5, 4])}
    assert run(make_piece(whole, [node], given, ["y"]), given)["y"].shape == (1, 2, 5, 4)


def test_nodes_alone_compute_from_what_they_are_given() -> None:
    nodes = [helper.make_node("Add", ["x", "c"], ["s"]), helper.make_node("Abs", ["s"], ["y"])]
    opsets = [helper.make_opsetid("", 17)]
    graph = helper.make_graph(nodes, "whole", [], [])
    whole = helper.make_model(graph, ir_version=8, opset_imports=opsets)
    constant = helper.make_tensor("c", TensorProto.FLOAT, (1,), [-3.0])
    piece = make_piece(whole, nodes, {"x": np.float32}, ["s", "y"], [constant])
    assert piece.ir_version == 8 and piece.opset_import == whole.opset_import
    found = run(piece, {"x": np.array([1.0, 4.0], np.float32)})
    assert found["s"].tolist() == [-2.0, 1.0] and found["y"].tolist() == [2.0, 1.0]


def test_a_resize_to_computed_sizes_runs_alone() -> None:
    nodes = [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear")]
    opsets = [helper.make_opsetid("", 18)]
    whole = helper.make_model(helper.make_graph(nodes, "g", [], []), opset_imports=opsets)
    whole.ir_version = 8
    given = {"x": np.ones((1, 2, 4, 4), np.float32), "sizes": np.array([1, 2, 8, 8])}
    assert run(make_piece(whole, nodes, given, ["y"]), given)["y"].shape == (1, 2, 8, 8)


IF = """{head} {{
    {nodes}
    y = If(c) <
        then_branch = t () => (float[n,4] u) {{ u = Abs(x) }},
        else_branch = e () => (float[n,4] v) {{ v = Neg(x) }}
    >
}}"""


@pytest.mark.parametrize(
    ("nodes", "inputs", "decides"),
    [
        ("s = ReduceSum <keepdims = 0> (x) c = Greater(s, zero)", "", True),
        ("z = Shape(x) s = ReduceSum <keepdims = 0> (z) c = Equal(s, z)", "", False),
        ("d = Relu(gain) c = Greater(d, zero)", ", float gain", False),
        ("", ", bool c", False),
        ("", ", bool[1] c", True),
    ],
)
def test_what_looks_at_values_decides_for_a_whole_batch(
    nodes: str, inputs: str, decides: bool
) -> None:
    head = f"net (float[n,4] x{inputs}) => (float[n,4] y)"
    model = small(IF.format(head=head, nodes=nodes), {"zero": np.array(0, np.float32)})
    assert decides_by_values(model.graph) == decides
