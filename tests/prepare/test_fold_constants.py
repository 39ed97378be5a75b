"""Constants are evaluated, outputs keep their values."""

import numpy as np
import pytest
from onnx import numpy_helper

from oq.model.graph import Graph
from oq.model.ops import RANDOM_OPS
from oq.prepare.fold_constants import fold_constants
from tests.small import assert_same_outputs, normal, ops, small

CONSTANTS = {
    "w": normal(3, 4),
    "zero": np.asarray(0, np.int64),
    "minus": np.asarray([-1], np.int64),
    "axes": np.asarray([0], np.int64),
}


@pytest.mark.parametrize(
    ("text", "left", "changed"),
    [
        (
            """net (float[n,3] x) => (float[n,4] y) {
                k = Constant<value = float {2.0}>()
                v = Mul(w, k)
                y = MatMul(x, v)
            }""",
            ["MatMul"],
            2,
        ),
        (
            """net (float[n,4] x) => (float[n,3] y) {
                t = Transpose(w)
                y = MatMul(x, t)
            }""",
            ["MatMul"],
            1,
        ),
        (
            # the exporter's x.view(x.size(0), -1) where the batch is fixed
            """net (float[2,3,4] x) => (float[2,12] y) {
                s = Shape(x)
                b = Gather(s, zero)
                u = Unsqueeze(b, axes)
                t = Concat<axis = 0>(u, minus)
                y = Reshape(x, t)
            }""",
            ["Reshape"],
            4,
        ),
        ("net (float[n,3] x) => (float[n,3] y) { y = Relu(x) }", ["Relu"], 0),
    ],
    ids=["scaled-weight", "transposed-weight", "static-shape", "nothing"],
)
def test_what_folds(text: str, left: list[str], changed: int) -> None:
    model = small(text, CONSTANTS)
    graph = Graph(model)
    assert fold_constants(graph).changed == changed
    assert ops(graph.to_model()) == left
    assert_same_outputs(model, graph.to_model())


def test_a_shape_that_depends_on_the_batch_stays() -> None:
    model = small(
        """net (float[n,3,4] x) => (float[n,12] y) {
            s = Shape(x)
            b = Gather(s, zero)
            u = Unsqueeze(b, axes)
            t = Concat<axis = 0>(u, minus)
            y = Reshape(x, t)
        }""",
        CONSTANTS,
    )
    graph = Graph(model)
    fold_constants(graph)
    assert "Shape" in ops(graph.to_model())
    assert_same_outputs(model, graph.to_model())


def test_an_output_that_is_constant_keeps_its_name_and_value() -> None:
    text = "net (float[n,3] x) => (float[n,3] y, float[4,3] k) { y = Relu(x)\n k = Transpose(w) }"
    model = small(text, CONSTANTS)
    graph = Graph(model)
    fold_constants(graph)
    assert_same_outputs(model, graph.to_model())


def test_fold_constants_counts_nodes_that_went() -> None:
    model = small(
        "net (float[n,3] x) => (float[n,3] y) { a = Neg(w)\n b = Abs(a)\n y = Add(x, b) }",
        {"w": normal(3)},
    )
    graph = Graph(model)
    assert fold_constants(graph).changed == 2
    assert ops(graph.to_model()) == ["Add"]
    assert_same_outputs(model, graph.to_model())


def test_nodes_lifted_out_of_an_if_are_named_and_editable() -> None:
    model = small(
        """net (float[n,3] x) => (float[n,3] y) {
            [same] a = Relu(x)
            b = If(c) <
                then_branch = yes () => (float[n,3] u) { p = Neg(a)
                    [same] u = Identity(p) },
                else_branch = no () => (float[n,3] v) { v = Abs(a) }
            >
            y = Add(b, a)
        }""",
        {"c": np.asarray(True)},
    )
    graph = Graph(model)
    assert fold_constants(graph).changed == 1  # the If
    nodes = graph.view().nodes
    assert sorted(n.op for n in nodes) == ["Add", "Identity", "Identity", "Neg", "Relu"]
    assert len({n.name for n in nodes} - {""}) == 5
    for node in [n.name for n in nodes if n.op == "Identity"]:
        graph.bypass(node)
    assert ops(graph.to_model()) == ["Relu", "Neg", "Add"]
    assert_same_outputs(model, graph.to_model())


@pytest.mark.parametrize(
    ("start", "end"), [(1, None), (0, -1), (-2, None), (-9, 2), (2, 1), (1, 9)]
)
def test_shape_knows_where_it_starts_and_ends(start: int, end: int | None) -> None:
    stop = "" if end is None else f", end = {end}"
    model = small(
        f"net (float[2,3,4] x) => (int64[k] y, float[2,3,4] z) {{"
        f" y = Shape<start = {start}{stop}>(x)\n z = Relu(x) }}"
    )
    graph = Graph(model)
    assert fold_constants(graph).changed == 1
    assert_same_outputs(model, graph.to_model())


def test_fixed_axes_of_a_shape_fold_beside_free_ones() -> None:
    model = small(
        """net (float[n,3,4] x) => (int64 y, int64[k] z, int64[k] free, float[n,3,4] r) {
            s = Shape<start = 1>(x)
            y = Gather(s, zero)
            t = Shape(x)
            z = Slice(t, minus_two, large)
            free = Slice(t, axes, one)
            r = Relu(x)
        }""",
        CONSTANTS | {"minus_two": np.asarray([-2]), "large": np.asarray([2**62]),
                     "one": np.asarray([1])},
    )  # fmt: skip
    graph = Graph(model)
    fold_constants(graph)
    assert ops(graph.to_model()) == ["Shape", "Slice", "Relu"]
    assert_same_outputs(model, graph.to_model())


@pytest.mark.parametrize("op", sorted(RANDOM_OPS - {"RandomNormal", "RandomUniform"}))
def test_chance_is_not_folded(op: str) -> None:
    model = small(
        f"net (float[n,3] x) => (float[n,3] y) {{ r = {op}(w)\n y = Relu(x) }}", CONSTANTS
    )
    graph = Graph(model)
    assert fold_constants(graph).changed == 0
    text = "net (float[3] x) => (float[3] y) { r = RandomNormal<shape = [3]>()\n y = Add(x, r) }"
    assert fold_constants(Graph(small(text))).changed == 0


def test_what_would_be_large_is_left_to_run_time() -> None:
    nodes = "c = ConstantOfShape(size)\n s = Mul(c, c)\n y = Add(s, x)"
    model = small(
        f"net (float[n,3] x) => (float[m] y) {{ {nodes} }}", {"size": np.asarray([2**13, 2**14])}
    )
    graph = Graph(model)
    fold_constants(graph)
    assert ops(graph.to_model()) == ["ConstantOfShape", "Mul", "Add"]


def test_a_branch_whose_outputs_read_each_other() -> None:
    """graphsurgeon's own flattening breaks it (silero VAD)."""
    model = small(
        """net (float[n,3] x) => (float[n,3] y, float[n,3] z) {
            a, b = If(c) <
                then_branch = yes () => (float[n,3] p, float[n,3] q) { p = Neg(x)
                    q = Relu(p) },
                else_branch = no () => (float[n,3] v, float[n,3] w2) { v = Abs(x)
                    w2 = Identity(v) }
            >
            y = Add(a, x)
            z = Add(b, a)
        }""",
        {"c": np.asarray(True)},
    )
    graph = Graph(model)
    fold_constants(graph)
    assert "If" not in ops(graph.to_model())
    assert_same_outputs(model, graph.to_model())


def test_branches_that_give_out_an_outer_tensor_and_share_names() -> None:
    """Names within a body are its own: two bodies may use the same."""
    body = "{ u = Abs(h)\n t = Add(u, w3)\n t2 = Identity(t) }"
    model = small(
        f"""net (float[n,3] x) => (float[n,3] y, float[n,3] z) {{
            h = Relu(x)
            a, b = If(c) <
                then_branch = yes () => (float[n,3] k, float[n,3] k2) {{ k = Identity(h)
                    k2 = Identity(h) }},
                else_branch = no () => (float[n,3] t, float[n,3] t2) {body}
            >
            d, e = If(c) <
                then_branch = yes2 () => (float[n,3] k, float[n,3] k2) {{ k = Identity(h)
                    k2 = Identity(h) }},
                else_branch = no2 () => (float[n,3] t, float[n,3] t2) {body}
            >
            y = Add(a, e)
            z = Add(b, d)
        }}""",
        {"c": np.asarray(False), "w3": normal(3)},
    )
    graph = Graph(model)
    fold_constants(graph)
    assert "If" not in ops(graph.to_model())
    assert_same_outputs(model, graph.to_model())
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.asarray(True), "c"))
    graph = Graph(model)
    fold_constants(graph)
    assert "If" not in ops(graph.to_model())
    assert_same_outputs(model, graph.to_model())


def test_a_condition_that_is_computed_from_constants_and_an_if_within_an_if() -> None:
    model = small(
        """net (float[n,3] x) => (float[n,3] y) {
            d = Not(c)
            y = If(d) <
                then_branch = yes () => (float[n,3] p) {
                    p = If(c) <
                        then_branch = in1 () => (float[n,3] p1) { p1 = Neg(x) },
                        else_branch = in2 () => (float[n,3] p2) { p2 = Abs(x) }
                    >
                },
                else_branch = no () => (float[n,3] v) { v = Relu(x) }
            >
        }""",
        {"c": np.asarray(False)},
    )
    graph = Graph(model)
    fold_constants(graph)
    found = ops(graph.to_model())
    assert "If" not in found and "Abs" in found
    assert_same_outputs(model, graph.to_model())
