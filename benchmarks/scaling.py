"""Time of each stage without data, by the number of nodes: ``python -m benchmarks.scaling``.

Seconds of the processor, of one process; the graphs are chains of residual blocks (Conv, Relu,
Add), of blocks of a transformer (two products with a bias, a normalization, a sum), of layers on a
matrix (a product, a bias, a Relu), and of blocks with two branches (Convs that a Concat or an Add
joins).
"""

import argparse
import gc
import time
from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from oq.emission.solve import solve
from oq.emission.write import write_graph
from oq.numerics.values import Array, Range
from oq.planning.overrides import Overrides
from oq.planning.setup import (
    choose_target,
    make_methods,
    plan_graph,
    tensors_to_calibrate,
)
from oq.prepare.order import prepare

SIZES = (1_000, 3_000, 10_000, 30_000)

Block = Callable[[int, str], tuple[list[onnx.NodeProto], Mapping[str, Array]]]
"""(number, input) -> nodes, the last of which computes the output, and constants."""


def residual(i: int, x: str) -> tuple[list[onnx.NodeProto], Mapping[str, Array]]:
    """Three nodes over 8 channels."""
    weights = np.random.default_rng(i).normal(0, 0.2, (8, 8, 1, 1)).astype(np.float32)
    return [
        helper.make_node("Conv", [x, f"w{i}", f"b{i}"], [f"c{i}"], f"Conv{i}"),
        helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"Relu{i}"),
        helper.make_node("Add", [f"r{i}", x], [f"a{i}"], f"Add{i}"),
    ], {f"w{i}": weights, f"b{i}": np.zeros(8, np.float32)}


def feed_forward(i: int, x: str) -> tuple[list[onnx.NodeProto], Mapping[str, Array]]:
    """Seven nodes over 8 features."""
    random = np.random.default_rng(i)
    weights = {f"{n}{i}": random.normal(0, 0.2, (8, 8)).astype(np.float32) for n in ("w", "v")}
    ones = {f"{n}{i}": np.ones(8, np.float32) for n in ("b", "d", "g")}
    return [
        helper.make_node("LayerNormalization", [x, f"g{i}", f"b{i}"], [f"n{i}"], f"Norm{i}"),
        helper.make_node("MatMul", [f"n{i}", f"w{i}"], [f"m{i}"], f"Up{i}"),
        helper.make_node("Add", [f"m{i}", f"b{i}"], [f"p{i}"], f"UpBias{i}"),
        helper.make_node("Relu", [f"p{i}"], [f"r{i}"], f"Relu{i}"),
        helper.make_node("MatMul", [f"r{i}", f"v{i}"], [f"q{i}"], f"Down{i}"),
        helper.make_node("Add", [f"q{i}", f"d{i}"], [f"s{i}"], f"DownBias{i}"),
        helper.make_node("Add", [f"s{i}", x], [f"a{i}"], f"Sum{i}"),
    ], {**weights, **ones}


def perceptron(i: int, x: str) -> tuple[list[onnx.NodeProto], Mapping[str, Array]]:
    """Three nodes over 8 features."""
    weights = np.random.default_rng(i).normal(0, 0.2, (8, 8)).astype(np.float32)
    return [
        helper.make_node("MatMul", [x, f"w{i}"], [f"m{i}"], f"MatMul{i}"),
        helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"], f"Add{i}"),
        helper.make_node("Relu", [f"a{i}"], [f"r{i}"], f"Relu{i}"),
    ], {f"w{i}": weights, f"b{i}": np.ones(8, np.float32)}


def branches(i: int, x: str) -> tuple[list[onnx.NodeProto], Mapping[str, Array]]:
    """Seven nodes over 8 channels."""
    random = np.random.default_rng(i)
    weights = {
        n: random.normal(0, 0.2, (8, 8, 1, 1)).astype(np.float32) for n in (f"u{i}", f"v{i}")
    }
    halves = {f"w{i}": random.normal(0, 0.2, (4, 8, 1, 1)).astype(np.float32)}
    return [
        helper.make_node("Conv", [x, f"u{i}"], [f"c{i}"], f"Left{i}"),
        helper.make_node("Conv", [x, f"v{i}"], [f"d{i}"], f"Right{i}"),
        helper.make_node("Add", [f"c{i}", f"d{i}"], [f"s{i}"], f"Sum{i}"),
        helper.make_node("Conv", [f"s{i}", f"w{i}"], [f"e{i}"], f"Upper{i}"),
        helper.make_node("Relu", [f"e{i}"], [f"r{i}"], f"Relu{i}"),
        helper.make_node("Conv", [f"s{i}", f"w{i}"], [f"f{i}"], f"Lower{i}"),
        helper.make_node("Concat", [f"r{i}", f"f{i}"], [f"y{i}"], f"Concat{i}", axis=1),
    ], {**weights, **halves}


GRAPHS: Mapping[str, tuple[Block, tuple[int | str, ...]]] = {
    "residual": (residual, ("n", 8, 4, 4)),
    "transformer": (feed_forward, ("n", 4, 8)),
    "perceptron": (perceptron, ("n", 8)),
    "branches": (branches, ("n", 8, 4, 4)),
}
"""Name -> a block, and the shape of its input and output."""


def build(name: str, count: int) -> onnx.ModelProto:
    """The graph ``name`` of ``count`` nodes or a few more."""
    block, shape = GRAPHS[name]
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Array] = {}
    x = "x"
    while len(nodes) < count:
        made, values = block(len(nodes), x)
        nodes += made
        constants |= values
        x = made[-1].output[0]
    ends = [[helper.make_tensor_value_info(t, 1, list(shape))] for t in ("x", x)]
    weights = [numpy_helper.from_array(v, n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, name, ends[0], ends[1], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def seconds(model: onnx.ModelProto, target: str = "ort") -> dict[str, float]:
    """Stage -> seconds of the processor, with a range of [-1, 1] for every tensor."""
    profile, _ = choose_target(target, {})
    methods = make_methods(profile.calibrator, {}, Overrides())
    clock = [time.process_time()]
    prepared = prepare(model, profile.min_opset, profile.passes)
    clock.append(time.process_time())
    planned = plan_graph(prepared.graph, profile, Overrides(), prepared.own)
    clock.append(time.process_time())
    one = Range(np.asarray(-1.0), np.asarray(1.0))
    known = dict.fromkeys(tensors_to_calibrate(planned.plan, planned.view), one)
    found = solve(planned.plan, planned.view, {}, methods.default, known=known)
    clock.append(time.process_time())
    write_graph(planned, {}, found, {})
    clock.append(time.process_time())
    stages = ("prepare", "plan", "solve", "emit and check")
    return {s: b - a for s, a, b in zip(stages, clock, clock[1:], strict=False)}


def main() -> None:
    """Print a table, one row per graph."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--most", type=int, default=SIZES[-1], help="nodes")
    arguments.add_argument("--target", default="ort")
    asked = arguments.parse_args()
    print("| graph | nodes | prepare | plan | solve | emit and check | ms per node |")
    print("|---|---|---|---|---|---|---|")
    for name in GRAPHS:
        for count in (size for size in SIZES if size <= asked.most):
            model = build(name, count)
            gc.collect()  # of the graph before
            found = seconds(model, asked.target)
            each = 1000 * sum(found.values()) / len(model.graph.node)
            cells = " | ".join(f"{value:.2f}" for value in found.values())
            print(f"| {name} | {len(model.graph.node):,} | {cells} | {each:.2f} |", flush=True)


if __name__ == "__main__":
    main()
