"""Every operator of the table, by itself, beside what the Q/DQ say; and what has to stay float."""

import numpy as np
import onnx
import pytest

from oq.deployment.qoperator.convert import PLATFORMS, convert
from oq.deployment.qoperator.kernels import join
from oq.model.graph import Graph
from oq.model.qdq import PAIR
from oq.model.qoperators import QOPERATORS
from tests.graphs import Build
from tests.qdq_cases import CASES, LEFT, Pairs, conv
from tests.small import ops, random_feeds, reference

ONNX_ALONE = ["gemm, transB, per channel", "matmul and row", "matmul to float", "matmul", "conv"]


def others(model: onnx.ModelProto) -> tuple[str, ...]:
    return tuple(op for op in ops(model) if op not in PAIR)


def step_of(model: onnx.ModelProto, output: str) -> float:
    """The scale of a graph's ``output``, or a small share of float ones."""
    scale = output.replace("_dequantized", "_scale")
    constants = {t.name: t for t in model.graph.initializer}
    return float(onnx.numpy_helper.to_array(constants[scale])) if scale in constants else 1e-4


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_the_pairs_say(name: str, platform: str) -> None:
    case = CASES[name]()
    made = convert(case.model, platform=platform).model
    onnx.checker.check_model(made, full_check=True)
    assert others(made) == case.ops
    feeds = random_feeds(case.model)
    wanted, fused = reference(case.model, feeds), reference(case.model, feeds, deployed=True)
    for found in (reference(made, feeds), reference(made, feeds, deployed=True)):
        for output, values in found.items():
            limit = 1.001 * step_of(case.model, output)
            assert len(np.unique(values)) > 4
            np.testing.assert_allclose(values, wanted[output], rtol=0, atol=limit)
            np.testing.assert_allclose(values, fused[output], rtol=0, atol=limit)


@pytest.mark.parametrize("why", LEFT)
def test_what_has_no_integer_form_is_left_as_it_is(why: str) -> None:
    model = LEFT[why]()
    converted = convert(model, platform="arm")
    assert converted.kernels == {}
    assert sorted(ops(converted.model)) == sorted(ops(model))
    reference(model, random_feeds(model))


@pytest.mark.parametrize("name", ONNX_ALONE)
def test_operators_of_onnx_alone(name: str) -> None:
    case = CASES[name]()
    made = convert(case.model, "onnx").model
    onnx.checker.check_model(made, full_check=True)
    assert {n.domain for n in made.graph.node} == {""}
    assert {"MatMulInteger", "QLinearMatMul", "QLinearConv"} & set(ops(made))
    feeds = random_feeds(case.model)
    wanted, found = reference(case.model, feeds), reference(made, feeds)
    for output, values in found.items():
        limit = 1.001 * step_of(case.model, output)
        np.testing.assert_allclose(values, wanted[output], rtol=0, atol=limit)


UINT8 = onnx.TensorProto.UINT8


@pytest.mark.parametrize(
    ("model", "op", "zeros"),
    [
        (LEFT["operands of two types"], "QLinearAdd", (2, 5, 7)),
        (LEFT["int8 data, uint8 weight"], "QLinearConv", (2, 7)),
        (lambda: CASES["add of an int8 constant"]().model, "QLinearAdd", (2, 5, 7)),
    ],
)
def test_on_x86_int8_activations_are_uint8_of_the_same_values(
    model: Build, op: str, zeros: tuple[int, ...]
) -> None:
    """And so operands of two types are of one, also where one is stored."""
    given = model()
    made = convert(given).model
    types = {n.name: n.data_type for n in made.graph.initializer}
    node = next(n for n in made.graph.node if n.op_type == op)
    assert {types[node.input[slot]] for slot in zeros} == {UINT8}
    feeds = random_feeds(given)
    wanted, found = reference(given, feeds), reference(made, feeds)
    for output, values in found.items():
        limit = 1.001 * step_of(given, output)
        np.testing.assert_allclose(values, wanted[output], rtol=0, atol=limit)


def test_every_operator_of_the_table_is_tried() -> None:
    tried = {op for case in CASES.values() for op in case().ops}
    assert tried - {"Clip", "Concat"} == {row.op for row in QOPERATORS}


def test_names_of_codes_and_nodes_are_kept() -> None:
    p = Pairs()
    model = p.model(p.pair(conv(p, (5, 5)), "y"))
    made = convert(model).model.graph
    assert [n.name for n in made.node if n.op_type == "QLinearConv"] == ["n_y_float"]
    assert made.node[1].output[0] == "y_quantized"
    assert made.output[0].name == "y_dequantized"


def test_a_second_run_finds_nothing() -> None:
    made = convert(CASES["residual"]().model).model
    again = convert(made)
    assert again.kernels == {}
    assert ops(again.model) == ops(made)


def test_the_bias_keeps_its_codes_where_they_fit() -> None:
    model = CASES["conv"]().model
    graph = Graph(model)
    join(graph, frozenset({""}))
    node = next(n for n in graph.view().nodes if n.op == "QLinearConv")
    assert node.inputs[8] == "b_codes"
