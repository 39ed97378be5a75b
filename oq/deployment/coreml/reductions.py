"""Reductions over axes, softmax among them."""

from oq.deployment.coreml.elementwise import Row
from oq.deployment.coreml.net import Net, axes_of, refusal
from oq.model.view import NodeView


def reduce(op: str) -> Row:
    """The row of ReduceMean and its like, which MIL has as ``op``."""

    def row(net: Net, node: NodeView) -> None:
        axes = axes_of(net, node)
        x = net.var(node.inputs[0])
        if axes is None and node.attributes.get("noop_with_empty_axes", 0):
            net.put(node.outputs[0], "identity", x=x)
            return
        every = list(range(len(net.shape(node.inputs[0]))))
        keep = bool(node.attributes.get("keepdims", 1))
        net.put(node.outputs[0], op, x=x, axes=axes or every, keep_dims=keep)

    return row


def arg(op: str) -> Row:
    """The row of ArgMax and ArgMin, of the first place."""

    def row(net: Net, node: NodeView) -> None:
        if node.attributes.get("select_last_index", 0):
            raise refusal(node, "the last of several places")
        net.put(
            node.outputs[0],
            op,
            x=net.var(node.inputs[0]),
            axis=int(node.attributes.get("axis", 0)),
            keep_dims=bool(node.attributes.get("keepdims", 1)),
        )

    return row


def softmax(net: Net, node: NodeView) -> None:
    """Softmax along one axis."""
    axis = int(node.attributes.get("axis", -1))
    net.put(node.outputs[0], "softmax", x=net.var(node.inputs[0]), axis=axis)


def log_softmax(net: Net, node: NodeView) -> None:
    """LogSoftmax: x less the logarithm of the sum of its exponentials."""
    axis, output = int(node.attributes.get("axis", -1)), node.outputs[0]
    x = net.var(node.inputs[0])
    total = net.step(output, "reduce_log_sum_exp", x=x, axes=[axis], keep_dims=True)
    net.put(output, "sub", x=x, y=total)


def cumulative_sum(net: Net, node: NodeView) -> None:
    """CumSum along a constant axis."""
    axis = net.required(node, 1, "its axis").reshape(-1)
    net.put(
        node.outputs[0],
        "cumsum",
        x=net.var(node.inputs[0]),
        axis=int(axis[0]),
        exclusive=bool(node.attributes.get("exclusive", 0)),
        reverse=bool(node.attributes.get("reverse", 0)),
    )


def top_k(net: Net, node: NodeView) -> None:
    """TopK, sorted."""
    k = net.required(node, 1, "k").reshape(-1)
    net.put_all(
        node.outputs,
        "topk",
        x=net.var(node.inputs[0]),
        k=int(k[0]),
        axis=int(node.attributes.get("axis", -1)),
        ascending=not node.attributes.get("largest", 1),
    )
