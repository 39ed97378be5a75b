"""The table from ONNX ops to XIR's, and the walk that fills a graph by it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from oq.deployment.xmodel import elementwise, layers, means, moving, pairs
from oq.deployment.xmodel.placed import Placed, usual
from oq.deployment.xmodel.translation import Translation, refusal
from oq.errors import ModelError
from oq.model.view import GraphView, NodeView


@dataclass(frozen=True, slots=True)
class Row:
    """How an op is written, and how many of its inputs are data (None: all; the others are read as
    constants, or known from the shapes)."""

    write: Callable[[Translation, NodeView], None]
    data: int | None = None


ROWS: Mapping[str, Row] = {
    "Abs": Row(elementwise.absolute),
    "Add": Row(elementwise.broadcast("add")),
    "AveragePool": Row(means.average_pool),
    "BatchNormalization": Row(elementwise.batch_norm),
    "Celu": Row(elementwise.alpha("celu")),
    "Clip": Row(elementwise.clip, 1),
    "Concat": Row(moving.concat),
    "Conv": Row(layers.conv),
    "ConvTranspose": Row(layers.conv_transpose),
    "DepthToSpace": Row(moving.depth_to_space),
    "DequantizeLinear": Row(pairs.dequantize, 1),
    "Div": Row(elementwise.broadcast("div", exact=False)),
    "Dropout": Row(elementwise.alias, 1),
    "Elu": Row(elementwise.alpha("elu")),
    "Exp": Row(elementwise.unary("exp", exact=False)),
    "Flatten": Row(moving.reshape, 1),
    "Gather": Row(moving.gather, 1),
    "Gelu": Row(elementwise.gelu),
    "Gemm": Row(layers.gemm),
    "GlobalAveragePool": Row(means.global_average_pool),
    "GroupNormalization": Row(elementwise.group_norm, 1),
    "HardSigmoid": Row(elementwise.hard_sigmoid),
    "HardSwish": Row(elementwise.hard_swish),
    "Identity": Row(elementwise.alias),
    "InstanceNormalization": Row(elementwise.instance_norm, 1),
    "LeakyRelu": Row(elementwise.leaky_relu),
    "MatMul": Row(layers.matmul),
    "Max": Row(elementwise.broadcast("max")),
    "MaxPool": Row(means.max_pool),
    "Min": Row(elementwise.broadcast("min")),
    "Mish": Row(elementwise.unary("mish", exact=False)),
    "Mul": Row(elementwise.mul),
    "Neg": Row(elementwise.unary("neg", exact=False)),
    "PRelu": Row(elementwise.prelu),
    "Pad": Row(moving.pad, 1),
    "Pow": Row(elementwise.square, 1),
    "QuantizeLinear": Row(pairs.quantize, 1),
    "ReduceMax": Row(means.reduce_max, 1),
    "ReduceMean": Row(means.reduce_mean, 1),
    "ReduceMin": Row(means.reduce_min, 1),
    "ReduceProd": Row(means.reduce_product, 1),
    "ReduceSum": Row(means.reduce_sum, 1),
    "Relu": Row(elementwise.unary("relu")),
    "Reshape": Row(moving.reshape, 1),
    "Resize": Row(moving.resize, 1),
    "Selu": Row(elementwise.unary("selu", exact=False)),
    "Sigmoid": Row(elementwise.unary("sigmoid", exact=False)),
    "Slice": Row(moving.slice_, 1),
    "Softmax": Row(elementwise.softmax),
    "Split": Row(moving.split, 1),
    "Squeeze": Row(moving.reshape, 1),
    "Sub": Row(elementwise.broadcast("sub")),
    "Tanh": Row(elementwise.unary("tanh", exact=False)),
    "Transpose": Row(moving.transpose),
    "Unsqueeze": Row(moving.reshape, 1),
}
"""ONNX op -> how it is written.  What has no row is refused by its name."""

NOTHING_FITS: Mapping[str, str] = {
    "SpaceToDepth": "XIR's reorg and pixel-shuffle order the channels otherwise",
}


def translate(view: GraphView) -> Translation:
    """The XIR graph of a Q/DQ graph of batch 1 with known shapes.

    Raises:
        ModelError: a node that XIR cannot express; the message has its name and the reason.
    """
    t = Translation(view)
    needed = _needed(view)
    for info in view.inputs:
        shape = tuple(s for s in info.shape or () if isinstance(s, int))
        layout = usual(len(shape))
        dims = tuple(shape[a] for a in layout)
        op = t.builder.add("data", info.name, dims, {}, {"shape": dims, "data_type": "FLOAT32"})
        t.put(info.name, Placed(op, dims, layout))
    for node in view.nodes:
        if node.name in needed:
            ROWS[node.op].write(t, node)
    for name in view.outputs:
        _check_output(t, name)
    return t


def _check_output(t: Translation, name: str) -> None:
    if name in t.parameters or t.view.is_constant(name):
        raise ModelError(f"--to xmodel: output {name!r} is a constant")
    producer = t.view.producer(name)
    if producer is not None and producer.op in INTEGER:
        raise refusal(producer, f"output {name!r} is its codes; a pair ends with DequantizeLinear")


INTEGER = frozenset({"QuantizeLinear"})


def _needed(view: GraphView) -> frozenset[str]:
    """The nodes that an output depends on by data, and not only by shapes.

    Raises:
        ModelError: there is no row for one of them.
    """
    found: set[str] = set()
    lost: list[NodeView] = []
    left = list(view.outputs)
    while left:
        node = view.producer(left.pop())
        if node is None or node.name in found:
            continue
        found.add(node.name)
        row = ROWS.get(node.op)
        if row is None:
            lost.append(node)
        left.extend(t for t in node.inputs[: None if row is None else row.data] if t)
    if lost:
        ops = ", ".join(sorted({n.op for n in lost}))
        first = min(lost, key=view.nodes.index)
        why = NOTHING_FITS.get(first.op, "oq has no op of XIR for it")
        raise refusal(first, f"{why}; of this model these lack: {ops}")
    return frozenset(found)
