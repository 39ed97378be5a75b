"""A guarded layer computes what its file says, in onnxruntime with all its optimizations."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from oq.emission.keep_float import keep_layers_float, keep_loadable
from oq.model.graph import Graph
from oq.model.session import optimized_ops
from tests.graphs import Net
from tests.small import ops, random_feeds, reference, small


def pair(net: Net, tensor: str, name: str) -> str:
    """Codes of step 0.05 around 128, and back."""
    names = [net.constant(f"s_{name}", 0.05), net.constant(f"z_{name}", 128, np.uint8)]
    codes = net.node("QuantizeLinear", [tensor, *names], f"q_{name}")
    return net.node("DequantizeLinear", [codes, *names], name)


def between_pairs(op: str, behind: str = "") -> Graph:
    net = Net()
    data = pair(net, net.input("x", ("n", 4) if op == "Gemm" else ("n", 4, 8, 8)), "d")
    if op == "Gemm":
        layer = net.gemm(data, "c")
    elif op == "Conv":
        layer = net.conv(data, "c")
    else:
        layer = net.node(op, [data, net.weight("w", 4, 4, 3, 3), net.weight("b", 4)], "c")
    if behind:
        layer = net.node(behind, [layer], "r")
    return Graph(net.model(pair(net, layer, "y")))


@pytest.mark.parametrize("behind", ["", "Relu"])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "Gemm"])
def test_onnxruntime_runs_what_is_written(op: str, behind: str) -> None:
    graph = between_pairs(op, behind)
    plain = graph.to_model()
    assert keep_layers_float(graph, ()) == ("n_c",)
    guarded = graph.to_model()
    assert ops(guarded).count("Max") == 1
    feeds = random_feeds(plain)
    meant = reference(plain, feeds)["y"]
    found = reference(guarded, feeds, deployed=True)["y"]
    # one step where a sum lies between two codes: onnxruntime may add in another order
    assert np.count_nonzero(found != meant) <= found.size // 1000
    np.testing.assert_array_equal(reference(guarded, feeds)["y"], meant)


def test_layers_that_read_one_tensor_share_the_copy() -> None:
    net = Net()
    data = pair(net, net.input("x"), "d")
    outputs = [pair(net, net.conv(data, name), f"y_{name}") for name in ("a", "b")]
    graph = Graph(net.model(*outputs))
    assert keep_layers_float(graph, ()) == ("n_a", "n_b")
    assert ops(graph.to_model()).count("Max") == 1


def test_what_onnxruntime_leaves_alone_needs_no_guard() -> None:
    net = Net()
    first = net.conv(net.input("x"), "a")
    graph = Graph(net.model(net.conv(pair(net, first, "d"), "y")))
    assert keep_layers_float(graph, ()) == ()
    assert "Max" not in ops(graph.to_model())


@pytest.mark.parametrize(
    ("op", "kernel"), [("AveragePool", "QLinearAveragePool"), ("Softmax", "QLinearSoftmax")]
)
def test_a_node_that_would_run_slower_is_guarded_where_the_plan_leaves_it(
    op: str, kernel: str
) -> None:
    net = Net()
    data = pair(net, net.input("x"), "d")
    t = net.node(op, [data], "t", **({"kernel_shape": [3, 3]} if op == "AveragePool" else {}))
    graph = Graph(net.model(pair(net, t, "y")))
    assert keep_layers_float(graph, ()) == ()
    assert optimized_ops(graph.to_model())[kernel] == 1
    assert keep_layers_float(graph, {"n_t"}) == ("n_t",)
    found = optimized_ops(graph.to_model())
    assert (found[kernel], found[op]) == (0, 1)


def test_an_average_of_values_that_lie_apart_is_loaded() -> None:
    """onnxruntime itself refuses the file without the copy."""
    net = Net()
    data = pair(net, net.input("x", ("n", 4, 8, 8)), "d")
    mean = net.node("AveragePool", [data], "p", kernel_shape=[2, 2], dilations=[2, 2])
    graph = Graph(net.model(pair(net, mean, "y")))
    plain = graph.to_model()
    feeds = random_feeds(plain)
    with pytest.raises(Exception, match="dilations for operator QLinearAveragePool"):
        reference(plain, feeds, deployed=True)
    assert keep_loadable(graph) == ("n_p",)
    found = reference(graph.to_model(), feeds, deployed=True)["y"]
    np.testing.assert_allclose(found, reference(plain, feeds)["y"], atol=0.05001)


def behind_a_move(guarded: bool) -> onnx.ModelProto:
    """Bodies that read what is moved behind a pair, beside a node that does."""
    text = """net (float[n,8] x) => (float[n,8] y, float[n,8] z) {
        q = QuantizeLinear(x, s, p)
        d = DequantizeLinear(q, s, p)
        m = Reshape(d, shape)
        t = ReduceSum<keepdims = 0>(x)
        c = Greater(t, zero)
        y = Tanh(m)
        z = If (c) <
            then_branch = then () => (float[n,8] a) { a = Tanh(m) },
            else_branch = other () => (float[n,8] b) { b = Sigmoid(m) }
        >
    }"""
    zero, shape = np.asarray(0, np.float32), np.asarray([-1, 8])
    scale, point = np.asarray(0.05, np.float32), np.asarray(128, np.uint8)
    model = small(text, {"s": scale, "p": point, "zero": zero, "shape": shape})
    if not guarded:
        return model
    graph = Graph(model)
    keep_loadable(graph)
    return graph.to_model()


def test_bodies_that_read_what_is_moved_behind_a_pair() -> None:
    plain, guarded = behind_a_move(False), behind_a_move(True)
    assert ops(guarded).count("Max") == 1
    feeds = random_feeds(plain)
    for name, values in reference(guarded, feeds, deployed=True).items():
        np.testing.assert_allclose(values, reference(plain, feeds)[name], rtol=1e-6)


def test_onnxruntime_dies_of_the_unguarded_file(tmp_path: Path) -> None:
    """When this fails, onnxruntime has been repaired: drop the guard and the check."""
    onnx.save(behind_a_move(False), tmp_path / "m.onnx")
    load = f"import onnxruntime; onnxruntime.InferenceSession({str(tmp_path / 'm.onnx')!r})"
    assert subprocess.run([sys.executable, "-c", load], capture_output=True).returncode < 0
