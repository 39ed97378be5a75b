"""A Q/DQ model -> a model of integer operators, in one order of steps."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from oq.deployment.qoperator.clamps import clamp
from oq.deployment.qoperator.kernels import join
from oq.deployment.qoperator.moves import cancel_pairs, fold_stored, move_codes
from oq.deployment.qoperator.products import multiply
from oq.model.graph import Graph
from oq.model.qdq import PAIR
from oq.model.qoperators import MICROSOFT
from oq.model.unsigned import make_unsigned
from oq.prepare.infer_types import infer_types

OPERATORS: Mapping[str, frozenset[str]] = {
    "microsoft": frozenset({"", MICROSOFT}),
    "onnx": frozenset({""}),
}
"""What ``operators`` may be -> the domains of the integer operators."""


@dataclass(frozen=True, slots=True)
class Converted:
    """``model`` without the Q/DQ that integer operators stand for; ``kernels``: node -> the integer
    operator that it is now; ``moved``: nodes that move codes; ``pairs``: Q and DQ nodes left."""

    model: onnx.ModelProto
    kernels: Mapping[str, str]
    moved: int
    pairs: int

    def count(self) -> Counter[str]:
        """The number of nodes of each integer operator."""
        return Counter(self.kernels.values())


PLATFORMS = ("x86", "arm")


def convert(
    model: onnx.ModelProto, operators: str = "microsoft", platform: str = "x86"
) -> Converted:
    """The Q/DQ ``model`` with an integer operator in place of each operator between
    DequantizeLinear and QuantizeLinear that has one in the domains of ``operators``; what has none
    is left as it is.  Bodies of If, Loop and Scan are left alone.  For ``platform`` x86 int8
    activations become uint8."""
    domains = OPERATORS[operators]
    graph = Graph(model)
    infer_types(graph)
    fold_stored(graph)
    if platform == "x86":
        make_unsigned(graph)
    moved = move_codes(graph)
    kernels = join(graph, domains)
    kernels |= multiply(graph, domains)
    kernels |= clamp(graph, domains)
    cancel_pairs(graph)
    pairs = sum(node.op in PAIR for node in graph.view().nodes)
    return Converted(graph.to_model(), kernels, moved, pairs)
