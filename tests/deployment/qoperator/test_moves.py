"""Moves of codes: exact, in whichever direction a pair has to go."""

from typing import Any

import numpy as np
import onnx
import pytest

from oq.deployment.qoperator.convert import convert
from oq.deployment.qoperator.moves import MOVES, fold_stored, move_codes
from oq.model.graph import Graph
from tests.qdq_cases import Pairs, conv
from tests.small import ops, random_feeds, reference

SHAPE = (2, 4, 6, 6)
HOW: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "DepthToSpace": ({}, {"blocksize": 2}),
    "Expand": ({"to": np.asarray([2, 4, 6, 6])}, {}),
    "Flatten": ({}, {}),
    "Gather": ({"at": np.asarray([3, 1])}, {"axis": 1}),
    "GatherElements": ({"at": np.asarray([[[[1, 0, 3]]]])}, {"axis": 3}),
    "MaxPool": ({}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "ReduceMax": ({}, {"axes": [2, 3]}),
    "ReduceMin": ({}, {"axes": [1]}),
    "Reshape": ({"to": np.asarray([0, -1])}, {}),
    "Resize": ({"roi": np.zeros(0, np.float32), "by": np.ones(4, np.float32) * 2},
               {"mode": "nearest"}),
    "Slice": ({"from": np.asarray([1]), "to": np.asarray([3]), "on": np.asarray([2])}, {}),
    "SpaceToDepth": ({}, {"blocksize": 2}),
    "Squeeze": ({"at": np.asarray([0])}, {}),
    "Tile": ({"by": np.asarray([1, 2, 1, 1])}, {}),
    "Transpose": ({}, {"perm": [0, 2, 3, 1]}),
    "Unsqueeze": ({"at": np.asarray([1])}, {}),
}  # fmt: skip


def moved(op: str, dtype: str = "uint8", scale: float = 0.02) -> onnx.ModelProto:
    """``op`` between two pairs; the grid behind it has ``scale``, that in front 0.02."""
    p, (constants, attributes) = Pairs(dtype, 121 if dtype == "uint8" else 7), HOW[op]
    shape = (1, *SHAPE[1:]) if op == "Squeeze" else SHAPE
    for name, values in constants.items():
        p.net.constants[name] = values
    made = p.net.node(op, [p.input("x", *shape), *constants], "y_float", **attributes)
    return p.model(p.pair(made, "y", scale), opset=13)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("op", HOW)
def test_a_move_between_pairs_of_one_grid_moves_codes(op: str, dtype: str) -> None:
    model = moved(op, dtype)
    converted = convert(model)
    assert ops(converted.model) == ["QuantizeLinear", op, "DequantizeLinear"]
    assert converted.moved == 1
    feeds = random_feeds(model)
    wanted, found = reference(model, feeds), reference(converted.model, feeds)
    np.testing.assert_array_equal(found["y_dequantized"], wanted["y_dequantized"])


def test_every_move_is_tried() -> None:
    assert {*HOW, "Split"} == MOVES


def test_between_two_grids_the_codes_are_rounded_again() -> None:
    model = moved("Transpose", scale=0.03)
    made = convert(model).model
    assert ops(made).count("QuantizeLinear") == 2
    feeds = random_feeds(model)
    wanted, found = reference(model, feeds), reference(made, feeds)
    np.testing.assert_array_equal(found["y_dequantized"], wanted["y_dequantized"])


def test_a_move_that_averages_neighbours_is_none() -> None:
    model = moved("Resize")
    next(n for n in model.graph.node if n.op_type == "Resize").attribute[0].s = b"linear"
    assert sorted(ops(convert(model).model)) == sorted(ops(model))


def test_a_split_gives_codes_to_all_its_readers() -> None:
    p = Pairs()
    data = p.input("x", 2, 8, 5, 5)
    split = onnx.helper.make_node("Split", [data], ["one", "two"], "split", axis=1)
    p.net.nodes.append(split)
    ends = [p.pair(t, t, 0.02) for t in ("one", "two")]
    model = p.model(*ends, opset=13)
    made = convert(model).model
    assert ops(made) == ["QuantizeLinear", "Split", "DequantizeLinear", "DequantizeLinear"]
    feeds = random_feeds(model)
    wanted, found = reference(model, feeds), reference(made, feeds)
    for name in ends:
        np.testing.assert_array_equal(found[name], wanted[name])


def test_codes_reach_a_kernel_across_moves_without_pairs() -> None:
    """As tools write it that leave moves to the runtime: on both sides of the convolution."""
    p = Pairs()
    data = p.net.node("Transpose", [p.input("x", 2, 5, 5, 8)], "x_first", perm=[0, 3, 1, 2])
    weight = p.stored("w", (8, 8, 3, 3), axis=0)
    made = p.net.node("Conv", [data, weight], "c")
    made = p.net.node("MaxPool", [made], "m", kernel_shape=[2, 2])
    made = p.net.node("Transpose", [made], "y_float", perm=[0, 2, 3, 1])
    model = p.model(p.pair(made, "y"))
    found = convert(model)
    assert ops(found.model) == [
        *("QuantizeLinear", "Transpose", "QLinearConv", "MaxPool", "Transpose"),
        "DequantizeLinear",
    ]
    feeds = random_feeds(model)
    wanted, got = reference(model, feeds), reference(found.model, feeds)
    np.testing.assert_allclose(got["y_dequantized"], wanted["y_dequantized"], atol=0.0501)


def test_a_pool_that_also_tells_places_stays_float() -> None:
    p = Pairs()
    data = p.input("x", *SHAPE)
    node = onnx.helper.make_node("MaxPool", [data], ["y", "places"], "pool", kernel_shape=[2, 2])
    p.net.nodes.append(node)
    model = p.model(p.pair("y", "z", 0.02))
    model.graph.output.append(onnx.helper.make_tensor_value_info("places", 7, None))
    assert move_codes(Graph(model)) == 0


def test_what_quantizes_a_stored_float_is_folded() -> None:
    p = Pairs()
    weight = p.net.weight("w", 8, 8, 3, 3)
    scale = 0.004 + 0.001 * np.arange(8)
    grid = p.grid("w", scale, 0, "int8")
    codes = p.net.node("QuantizeLinear", [weight, *grid], "w_codes", axis=0)
    real = p.net.node("DequantizeLinear", [codes, *grid], "w_real", axis=0)
    made = p.net.node("Conv", [p.input("x", 1, 8, 5, 5), real], "y_float")
    model = p.model(p.pair(made, "y"))
    graph = Graph(model)
    fold_stored(graph)
    assert graph.view().is_constant("w_codes")
    codes_as_said = reference(
        onnx.helper.make_model(
            onnx.helper.make_graph(
                [n for n in model.graph.node if n.output[0] == "w_codes"],
                "q",
                [],
                [onnx.helper.make_tensor_value_info("w_codes", 3, None)],
                model.graph.initializer,
            ),
            opset_imports=model.opset_import,
            ir_version=10,
        ),
        {},
    )
    np.testing.assert_array_equal(graph.view().constants["w_codes"], codes_as_said["w_codes"])
    assert "QLinearConv" in ops(convert(model).model)


def test_a_graph_output_of_codes_keeps_its_name() -> None:
    p = Pairs()
    made = p.pair(conv(p, (5, 5)), "y", 0.02)
    grid = ("y_scale", "y_zero_point")
    p.net.node("QuantizeLinear", [made, *grid], "again")
    model = p.model(made)
    model.graph.output.append(onnx.helper.make_tensor_value_info("again", 2, None))
    found = convert(model).model
    feeds = random_feeds(model)
    wanted, got = reference(model, feeds), reference(found, feeds)
    assert np.abs(got["again"].astype(int) - wanted["again"]).max() <= 1


def test_a_float_that_is_given_out_too_is_still_computed() -> None:
    p = Pairs()
    moved_twice = p.net.node("Flatten", [p.input("x", *SHAPE)], "flat")
    model = p.model(p.pair(moved_twice, "y", 0.02), "flat")
    made = convert(model).model
    onnx.checker.check_model(made, full_check=True)
    assert ops(made)[:2] == ["QuantizeLinear", "Flatten"]
    feeds = random_feeds(model)
    wanted, found = reference(model, feeds), reference(made, feeds)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)
