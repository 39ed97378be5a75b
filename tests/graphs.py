"""Small float graphs, written node by node, for tests to reason about.

A node computing tensor ``t`` is called ``n_t``, so a plan can be read beside the graph.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oq.model.graph import Graph
from oq.model.view import GraphView
from oq.numerics.values import Array

CHANNELS = 4
IMAGE = ("n", CHANNELS, 8, 8)


@dataclass(slots=True)
class Net:
    """A graph under construction; every verb returns the name of the tensor it makes."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: dict[str, Sequence[str | int] | None] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def input(self, name: str, shape: Sequence[str | int] | None = IMAGE) -> str:
        self.inputs[name] = shape
        return name

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        self.constants[name] = np.asarray(values, dtype)
        return name

    def weight(self, name: str, *shape: int) -> str:
        return self.constant(name, self.random.normal(0, 0.3, shape))

    def node(self, op: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        made = helper.make_node(op, list(inputs), [output], f"n_{output}", **attributes)
        self.nodes.append(made)
        return output

    def conv(
        self, data: str, output: str, *, bias: bool = True, width: int = CHANNELS, group: int = 1
    ) -> str:
        """A 3x3 convolution that keeps the image's size; weight ``w_*``, bias ``b_*``."""
        names = [data, self.weight(f"w_{output}", width, CHANNELS // group, 3, 3)]
        if bias:
            names.append(self.weight(f"b_{output}", width))
        return self.node("Conv", names, output, pads=[1, 1, 1, 1], group=group)

    def gemm(self, data: str, output: str, *, features: int = CHANNELS, **attributes: Any) -> str:
        """A linear layer as torch writes it: weight (3, features), transB=1."""
        names = [data, self.weight(f"w_{output}", 3, features), self.weight(f"b_{output}", 3)]
        return self.node("Gemm", names, output, **{"transB": 1, **attributes})

    def model(self, *outputs: str, opset: int = 21) -> onnx.ModelProto:
        """The whole, with the types and shapes that ONNX infers."""
        graph = helper.make_graph(
            self.nodes,
            "net",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in self.inputs.items()
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(values, name) for name, values in self.constants.items()],
        )
        return onnx.shape_inference.infer_shapes(finish(graph, opset), strict_mode=True)

    def view(self, *outputs: str, opset: int = 21) -> GraphView:
        return Graph(self.model(*outputs, opset=opset)).view()


def finish(graph: onnx.GraphProto, opset: int = 21) -> onnx.ModelProto:
    """A model around ``graph`` that every onnxruntime of the last years loads."""
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def single(op: str, count: int = 1, **attributes: Any) -> onnx.ModelProto:
    """One node ``y = op(x, ...)`` whose further inputs are graph inputs too."""
    net = Net()
    names = [net.input(name) for name in "xabc"[:count]]
    net.node(op, names, "y", **attributes)
    return net.model("y")


Build = Callable[[], onnx.ModelProto]
