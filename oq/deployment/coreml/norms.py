"""Normalization: BatchNormalization, LayerNormalization and its like, LRN."""

import numpy as np

from oq.deployment.coreml.net import Net, is_size, refusal
from oq.model.view import NodeView


def batch_norm(net: Net, node: NodeView) -> None:
    """BatchNormalization with its stored mean and variance."""
    if node.attributes.get("training_mode", 0):
        raise refusal(node, "it computes mean and variance as it runs")
    gamma, beta, mean, variance = (net.required(node, s, "its numbers") for s in range(1, 5))
    epsilon, output = float(node.attributes.get("epsilon", 1e-5)), node.outputs[0]
    x = net.var(node.inputs[0])
    if 3 <= len(net.shape(node.inputs[0])) <= 5:
        net.put(
            output,
            "batch_norm",
            x=x,
            mean=mean,
            variance=variance,
            gamma=gamma,
            beta=beta,
            epsilon=np.float32(epsilon),
        )
        return
    factor = gamma / np.sqrt(variance + np.float32(epsilon))
    scaled = net.step(output, "mul", x=x, y=factor.astype(np.float32))
    net.put(output, "add", x=scaled, y=(beta - mean * factor).astype(np.float32))


def layer_norm(net: Net, node: NodeView) -> None:
    """LayerNormalization over the last axes."""
    if any(node.outputs[1:]):
        raise refusal(node, "it gives its mean or deviation")
    rank = len(net.shape(node.inputs[0]))
    first = int(node.attributes.get("axis", -1)) % rank
    axes = list(range(first, rank))
    shape = net.shape(node.inputs[0])[first:]
    if not all(is_size(s) for s in shape):
        raise refusal(node, "an axis that it normalizes is free")
    given = {"gamma": net.required(node, 1, "its scale")}
    if node.input(2):
        given["beta"] = net.required(node, 2, "its bias")
    net.put(
        node.outputs[0],
        "layer_norm",
        x=net.var(node.inputs[0]),
        axes=axes,
        epsilon=np.float32(node.attributes.get("epsilon", 1e-5)),
        **{k: np.broadcast_to(v, shape).copy() for k, v in given.items()},
    )


def rms_norm(net: Net, node: NodeView) -> None:
    """RMSNormalization: x / sqrt(mean(x^2) + epsilon) scale."""
    output, rank = node.outputs[0], len(net.shape(node.inputs[0]))
    x = net.var(node.inputs[0])
    axes = list(range(int(node.attributes.get("axis", -1)) % rank, rank))
    squares = net.step(output, "square", x=x)
    mean = net.step(output, "reduce_mean", x=squares, axes=axes, keep_dims=True)
    epsilon = np.float32(node.attributes.get("epsilon", 1e-5))
    root = net.step(output, "rsqrt", x=mean, epsilon=epsilon)
    scaled = net.step(output, "mul", x=x, y=root)
    net.put(output, "mul", x=scaled, y=net.var(node.inputs[1]))


def instance_norm(net: Net, node: NodeView) -> None:
    """InstanceNormalization: every channel of every sample by its own mean and variance."""
    net.put(
        node.outputs[0],
        "instance_norm",
        x=net.var(node.inputs[0]),
        gamma=net.required(node, 1, "its scale"),
        beta=net.required(node, 2, "its bias"),
        epsilon=np.float32(node.attributes.get("epsilon", 1e-5)),
    )


def response_norm(net: Net, node: NodeView) -> None:
    """LRN: x / (k + alpha / size * sum of squares of neighbouring channels)^beta."""
    given = node.attributes
    net.put(
        node.outputs[0],
        "local_response_norm",
        x=net.var(node.inputs[0]),
        size=int(given["size"]),
        alpha=np.float32(given.get("alpha", 1e-4)),
        beta=np.float32(given.get("beta", 0.75)),
        k=np.float32(given.get("bias", 1.0)),
    )


def lp_norm(net: Net, node: NodeView) -> None:
    """LpNormalization: x by its norm along an axis."""
    order = int(node.attributes.get("p", 2))
    if order not in {1, 2}:
        raise refusal(node, f"a norm of order {order}")
    x, output = net.var(node.inputs[0]), node.outputs[0]
    op = "reduce_l1_norm" if order == 1 else "reduce_l2_norm"
    axes = [int(node.attributes.get("axis", -1))]
    norm = net.step(output, op, x=x, axes=axes, keep_dims=True)
    net.put(output, "real_div", x=x, y=norm)
