"""Editing keeps the model's outputs; names never collide; what oq does not know survives."""

import itertools

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from oq.errors import ModelError
from oq.model.files import load_model
from oq.model.graph import Graph
from oq.numerics.values import Array, TensorInfo
from tests.real import CIFAR, IMAGENET, needs_real
from tests.small import assert_same_outputs, floats, normal, ops, reference, small

CAPTURE = """net (bool c, float[n,3] x) => (float[n,3] y) {
    r = Relu(x)
    y = If(c) <
        then_branch = yes () => (float[n,3] u) { [inner] deep = Neg(r)
            u = Add(deep, w) },
        else_branch = no () => (float[n,3] v) { v = Mul(r, w) }
    >
}"""


# ---- round trip


@pytest.mark.parametrize(
    "text",
    [
        CAPTURE,
        "net (float[n,3] x) => (float[n,3] y, float[n,3] x) { y = Add(x, w) }",
        "net (float[n,3] x) => (float[n,3] y, float[3] w) { y = Add(x, w) }",
        "net (float[n,3] x) => (float[n,3] y, float[3] k) { y = Add(x, x)\n k = Neg(w) }",
        "net (float[n,3] x) => (float[n,3] y) { y = Clip(x, , w0)\n }",
        """net (float[n,3] x) => (float[n,3] y, int64[n,3] i) {
            y, i = TopK<axis = 1>(x, three) }""",
    ],
    ids=["captured", "input-is-output", "constant-is-output", "folded", "optional", "two-outputs"],
)
@pytest.mark.parametrize("shared", [False, True])
def test_round_trip_keeps_the_outputs(text: str, shared: bool) -> None:
    constants = {
        "w": normal(3),
        "w0": np.asarray(0.5, np.float32),
        "three": np.asarray([3], np.int64),
    }
    if shared and text == CAPTURE:
        text = text.replace("Relu(x)", "Add(x, w)")
    model = small(text, constants)
    assert_same_outputs(model, Graph(model).to_model())


@needs_real
@pytest.mark.parametrize(
    "path",
    [
        CIFAR / "resnet20.onnx",
        CIFAR / "resnet20_torchscript_opset13.onnx",
        IMAGENET / "mobilenetv1_025.onnx",
    ],
    ids=lambda p: p.stem,
)
def test_round_trip_of_real_models(path: object) -> None:
    model = load_model(str(path))
    assert_same_outputs(model, Graph(model).to_model())


def test_what_is_not_the_graph_survives() -> None:
    model = small("net (float[n] x) => (float[n] y) { y = com.example.Mystery<alpha = 2.0>(x) }")
    model.producer_name, model.producer_version, model.doc_string = "them", "1.2", "words"
    model.model_version, model.domain = 7, "org.example"
    model.metadata_props.add(key="license", value="MIT")
    made = Graph(model).to_model()
    for field in ("producer_name", "producer_version", "doc_string", "model_version", "domain"):
        assert getattr(made, field) == getattr(model, field)
    assert made.ir_version == model.ir_version
    assert [(p.key, p.value) for p in made.metadata_props] == [("license", "MIT")]
    assert {o.domain: o.version for o in made.opset_import} == {"": 17, "com.example": 1}
    node = made.graph.node[0]
    assert (node.domain, node.op_type, node.attribute[0].f) == ("com.example", "Mystery", 2.0)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.int8, np.bool_, np.int64])
def test_constants_of_any_type_survive(dtype: type) -> None:
    values: Array = np.asarray([[0, 1], [1, 0]]).astype(dtype)
    model = small("net (float[n] x) => (float[n] y) { y = com.example.Two(x, w) }", {"w": values})
    kept = Graph(model).to_model().graph.initializer[0]
    assert kept.data_type == model.graph.initializer[0].data_type
    assert numpy_helper.to_array(kept).tobytes() == values.tobytes()


def test_the_callers_model_is_left_alone() -> None:
    model = small("net (float[n,3] x) => (float[n,3] y) { a = Identity(x)\n y = Add(a, w) }")
    model.graph.initializer.append(numpy_helper.from_array(normal(3), "w"))
    before = model.SerializeToString()
    graph = Graph(model)
    graph.bypass("Identity_a")
    graph.cleanup()
    graph.to_model()
    assert model.SerializeToString() == before


def test_initializer_listed_as_input_is_a_constant() -> None:
    text = "net (float[n,3] x, float[3] w) => (float[n,3] y) { y = Add(x, w) }"
    model = small(text, {"w": normal(3)}, ir=3)
    graph = Graph(model)
    assert [i.name for i in graph.view().inputs] == ["x"]
    assert graph.view().is_constant("w")
    made = graph.to_model()
    assert [i.name for i in made.graph.input] == ["x"]
    onnx.checker.check_model(made, full_check=True)  # which needs IR version 4 at least
    x = normal(2, 3, seed=1)
    assert np.array_equal(reference(made, {"x": x})["y"], reference(model, {"x": x})["y"])


def test_nodes_out_of_order_are_sorted() -> None:
    model = small("net (float[n] x) => (float[n] y) { a = Relu(x)\n b = Neg(a)\n y = Abs(b) }")
    nodes = list(model.graph.node)
    for order in itertools.permutations(nodes):
        del model.graph.node[:]
        model.graph.node.extend(order)
        assert [n.op for n in Graph(model).view().nodes] == ["Relu", "Neg", "Abs"]


# ---- names


def test_duplicate_and_missing_node_names_become_unique() -> None:
    model = small(
        """net (float[n] x) => (float[n] y) {
            [same] a = Relu(x)
            [same] b = Neg(a)
            d = Abs(b)
            [Exp_y] e = Exp(d)
            y = Exp(e)
        }"""
    )
    names = [n.name for n in Graph(model).view().nodes]
    assert len(set(names)) == 5
    assert names[0] == "same" and names[3] == "Exp_y"  # the user's names stay
    made = Graph(model).to_model()
    for i, node in enumerate(model.graph.node):
        node.name = str(i)  # onnxruntime itself refuses two nodes of one name
    assert_same_outputs(model, made)


@given(st.lists(st.sampled_from(["x", "y", "r", "deep", "inner", "u", "w", "r_2", "new"])))
def test_fresh_names_are_used_by_nothing(overrides: list[str]) -> None:
    graph = Graph(small(CAPTURE, {"w": normal(3)}))
    taken = {"x", "y", "r", "c", "deep", "inner", "u", "v", "w"}
    for wish in overrides:
        name = graph.fresh(wish)
        assert name not in taken
        assert name == wish or name.startswith(wish + "_")
        taken.add(name)


def test_a_free_wish_is_granted() -> None:
    graph = Graph(small(CAPTURE, {"w": normal(3)}))
    assert [graph.fresh("new"), graph.fresh("new")] == ["new", "new_2"]


# ---- verbs


def test_add_node_goes_behind_the_producer_and_carries_its_rule() -> None:
    model = small("net (float[n,3] x) => (float[n,3] y) { [a] t = Relu(x)\n [b] y = Neg(t) }")
    graph = Graph(model)
    half = graph.add_constant("half", np.asarray(0.5, np.float32))
    made = graph.add_node("Mul", ("t", half), "t", name="a", like="t", rule="why")
    graph.replace_reads("b", "t", made)
    done = graph.to_model()
    assert [n.op_type for n in done.graph.node] == ["Relu", "Mul", "Neg"]
    assert made == "t_2" and done.graph.node[1].name == "a_2"
    props = {p.key: p.value for p in done.graph.node[1].metadata_props}
    assert props == {"oq.rule": "why"}
    x = normal(2, 3)
    assert np.array_equal(reference(done, {"x": x})["y"], -0.5 * np.maximum(x, 0))


def test_add_node_in_front_of_another() -> None:
    model = small("net (float[n] x) => (float[n] y) { [a] t = Relu(x)\n [b] y = Neg(t) }")
    graph = Graph(model)
    graph.add_node("Abs", ("x",), "z", name="z", before="b")
    assert [n.op for n in graph.view().nodes] == ["Relu", "Abs", "Neg"]


def test_split_and_give_output_keep_the_name_for_every_reader() -> None:
    """The new producer of ``r`` feeds the main graph, the branch and the graph output alike."""
    text = CAPTURE.replace("=> (float[n,3] y)", "=> (float[n,3] y, float[n,3] r)", 1)
    graph = Graph(small(text, {"w": normal(3)}))
    old = graph.split_output("r", "r_float")
    assert old == "r_float"
    graph.give_output("r", graph.add_node("Neg", (old,), "minus", name="minus", like=old))
    done = graph.to_model()
    onnx.checker.check_model(done)
    x = normal(2, 3, seed=1)
    found = reference(done, {"x": x, "c": np.asarray(False)})
    assert np.array_equal(found["r"], -np.maximum(x, 0))
    assert np.array_equal(found["y"], found["r"] * normal(3))
    assert graph.fresh("minus_2") == "minus_2"


def test_set_input_extends_and_clears_optional_inputs() -> None:
    graph = Graph(small("net (float[n] x, float h) => (float[n] y) { [a] y = Clip(x) }"))
    graph.set_input("a", 2, "h")
    assert graph.view().node("a").inputs == ("x", "", "h")
    graph.set_input("a", 2, "")
    x = normal(4)
    assert np.array_equal(
        reference(graph.to_model(), {"x": x, "h": np.asarray(0, np.float32)})["y"], x
    )


def test_views_are_not_changed_by_later_edits() -> None:
    graph = Graph(small("net (float[n] x) => (float[n] y) { a = Identity(x)\n y = Relu(a) }"))
    before = graph.view()
    graph.bypass("Identity_a")
    assert [n.op for n in before.nodes] == ["Identity", "Relu"]
    assert before.nodes[1].inputs == ("a",)
    assert graph.view().nodes[0].inputs == ("x",)


# ---- bypass


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Relu(x)\n b = Identity(a)\n y = Neg(b)", ["Relu", "Neg"]),
        ("b = Identity(x)\n y = Neg(b)", ["Neg"]),
        ("a = Relu(x)\n y = Identity(a)", ["Relu"]),
        ("y = Identity(x)", None),
        ("b = Identity(x)\n y = Add(b, b)", ["Add"]),
    ],
    ids=["middle", "from-input", "to-output", "input-to-output", "two-reads"],
)
def test_bypass(body: str, left: list[str] | None) -> None:
    model = small(f"net (float[n,3] x) => (float[n,3] y) {{ {body} }}")
    graph = Graph(model)
    name = next(n.name for n in graph.view().nodes if n.op == "Identity")
    if left is None:
        with pytest.raises(ModelError, match="joins a graph input or two outputs; it must stay"):
            graph.bypass(name)
        left = ["Identity"]
    else:
        graph.bypass(name)
    assert ops(graph.to_model()) == left
    assert_same_outputs(model, graph.to_model())


def test_bypass_between_two_outputs_is_refused() -> None:
    model = small("net (float[n] x) => (float[n] a, float[n] y) { a = Relu(x)\n y = Identity(a) }")
    graph = Graph(model)
    with pytest.raises(ModelError, match="'Identity_y' joins a graph input or two outputs"):
        graph.bypass("Identity_y")
    assert_same_outputs(model, graph.to_model())


@pytest.mark.parametrize("choice", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        "r = Relu(x)\n z = Identity(r)\n other = Neg(r)",
        "q = Relu(x)\n r = Identity(q)\n z = Neg(q)\n other = Neg(r)",
    ],
    ids=["to-output", "middle"],
)
def test_bypass_reaches_readers_inside_branches(body: str, choice: bool) -> None:
    model = small(
        f"""net (float[n,3] x, bool c) => (float[n,3] z, float[n,3] other, float[n,3] y) {{
            {body}
            y = If(c) <
                then_branch = yes () => (float[n,3] u) {{ u = Neg(r) }},
                else_branch = no () => (float[n,3] v) {{ v = Abs(r) }}
            >
        }}"""
    )
    graph = Graph(model)
    graph.bypass(next(n.name for n in graph.view().nodes if n.op == "Identity"))
    feeds = {"x": normal(2, 3), "c": np.asarray(choice)}
    expected, found = reference(model, feeds), reference(graph.to_model(), feeds)
    assert "Identity" not in ops(graph.to_model())
    for name, values in expected.items():
        assert np.array_equal(found[name], values)


# ---- folding, cleaning, types


def test_cleanup_drops_what_nothing_reads_and_keeps_inputs() -> None:
    model = small(
        "net (float[n] x, float[n] idle) => (float[n] y) { dead = Add(x, w)\n y = Relu(x) }",
        {"w": normal(1)},
    )
    graph = Graph(model)
    graph.cleanup()
    view = graph.view()
    assert [n.op for n in view.nodes] == ["Relu"]
    assert [i.name for i in view.inputs] == ["x", "idle"]
    assert not view.is_constant("w")
    assert_same_outputs(model, graph.to_model())


def test_set_types_writes_down_what_is_known() -> None:
    graph = Graph(small("net (float[n] x) => (float[n] y) { t = Relu(x)\n y = Neg(t) }"))
    graph.set_types({"t": TensorInfo("t", "float32", ("n",)), "absent": TensorInfo("z", None, ())})
    assert graph.view().tensors["t"] == TensorInfo("t", "float32", ("n",))
    graph.set_types({"t": TensorInfo("t", "bfloat16", None)})
    assert graph.view().tensors["t"] == TensorInfo("t", "bfloat16", None)


def test_a_node_takes_over_what_another_wrote() -> None:
    """Readers and graph outputs keep the name; the old node is left for cleanup."""
    model = small("net (float[n,2] x) => (float[n,2] y) { y = Relu(x) }")
    graph = Graph(model)
    (relu,) = graph.view().nodes
    graph.take_over(relu.name, "LeakyRelu", relu.inputs, name="new", attributes={"alpha": 0.0})
    graph.cleanup()
    made = graph.to_model()
    assert [(n.op_type, n.name, list(n.output)) for n in made.graph.node] == [
        ("LeakyRelu", "new", ["y"])
    ]
    assert_same_outputs(model, made)


def test_axes_inside_have_the_names_of_inputs_only() -> None:
    model = small(
        """net (float[n,4] x) => (float[n,many] y)
        <float[n,many] a, float[n,4] b> { a = Relu(x) b = Sigmoid(x) y = Add(a, b) }"""
    )
    made = Graph(model).to_model()
    shapes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*made.graph.value_info, *made.graph.output)
    }
    assert shapes == {"a": ["n", 0], "b": ["n", 4], "y": ["n", "many"]}


def test_constants_of_the_outer_graph_are_written_once() -> None:
    """Two branches and a nested one read ``w``; each keeps its own ``k``, which differs."""
    text = """net (float[n,4] x, bool c) => (float[n,4] y) {
        y = If (c) <
            then_branch = then () => (float[n,4] t) { p = MatMul(x, w) t = Mul(p, k) },
            else_branch = other () => (float[n,4] e) {
                e = If (c) <
                    then_branch = a () => (float[n,4] s) { s = MatMul(x, w) },
                    else_branch = b () => (float[n,4] r) { q = MatMul(x, w) r = Add(q, k) }
                >
            }
        >
    }"""
    model = small(text, {"w": normal(4, 4)})
    outer = model.graph.node[0].attribute
    then, other = (next(a.g for a in outer if a.name == f"{n}_branch") for n in ("then", "else"))
    inner = next(a.g for a in other.node[0].attribute if a.name == "else_branch")
    for body, value in ((then, 2.0), (inner, 3.0)):
        body.initializer.append(onnx.numpy_helper.from_array(floats(value), "k"))
    made = Graph(model).to_model()
    assert [t.name for t in made.graph.initializer] == ["w"]
    assert made.ByteSize() < model.ByteSize() + 400
    for chosen in (True, False):
        feeds = {"x": normal(2, 4, seed=1), "c": np.asarray(chosen)}
        np.testing.assert_array_equal(reference(made, feeds)["y"], reference(model, feeds)["y"])


def test_strings_that_were_looked_at_are_written() -> None:
    model = small("net (int64[n] i) => (string[n] y) { y = Gather(names, i) }")
    names = np.array(["cat", "Käse", ""], object)
    model.graph.initializer.append(onnx.numpy_helper.from_array(names, "names"))
    graph = Graph(model)
    assert list(graph.view().constants["names"]) == list(names)
    for _ in range(2):
        assert onnx.numpy_helper.to_array(graph.to_model().graph.initializer[0]).tolist() == list(
            names
        )


def test_attributes_without_values_are_kept_in_bodies_too() -> None:
    text = """net (bool c, float[n,1] x) => (float[n,1] y) {
        y = If(c) <
            then_branch = yes () => (float[n,1] u) { a = Abs(x) u = com.example.F(a) },
            else_branch = no () => (float[n,1] v) { v = ReduceSum <keepdims = 1> (x) }
        >
    }"""
    model = small(text, opset=11)
    for attribute in model.graph.node[0].attribute:
        attribute.g.node[-1].attribute.add(name="axes", type=onnx.AttributeProto.INTS)
    graph = Graph(model)
    for _ in range(2):
        (made,) = graph.to_model().graph.node
        for body in made.attribute:
            (axes,) = [a for a in body.g.node[-1].attribute if a.name == "axes"]
            assert axes.type == onnx.AttributeProto.INTS and not axes.HasField("ref_attr_name")


def test_a_node_is_seen_as_it_is_between_edits() -> None:
    graph = Graph(small(CAPTURE, {"w": normal(3)}))
    branch = next(n for n in graph.view().nodes if n.op == "If")
    relu = graph.maker("r")
    assert relu is not None and graph.maker("x") is None
    assert graph.node(branch.name) == branch and "r" in branch.captured
    new = graph.add_node("Neg", ("x",), "negated", name="minus", like="x", dtype="float32")
    graph.set_input(relu, 0, new)
    assert graph.node(relu).inputs == ("negated",) and graph.maker("negated") == "minus"
