"""Ops on single values: sums and products of tensors, activations, and what the CPU computes."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from oq.deployment.xmodel.graph import Attribute
from oq.deployment.xmodel.placed import Layout, Parameter, Placed
from oq.deployment.xmodel.translation import Translation, refusal
from oq.dpu.kernels import SIXTH, SIXTH_BITS, SLOPE_BITS, SWISH_POSITION, is_hard_sigmoid
from oq.model.operands import clip_bounds
from oq.model.view import NodeView

Write = Callable[[Translation, NodeView], None]

GATE_FACTOR = 6.0 * SIXTH / 2**SIXTH_BITS
"""The hardware's sixth over the exact one."""

SAME_FACTOR = 1e-6


def broadcast(kind: str, exact: bool | None = None) -> Write:
    """An op of two or more operands, constant ones in the full shape of the result."""

    def write(t: Translation, node: NodeView) -> None:
        shape = t.shape(node, node.outputs[0])
        wide = {x: _wide(t, node, x, len(shape)) for x in node.inputs if t.parameter(x) is None}
        if not wide:
            raise refusal(node, "all its operands are constants")
        layout = max(wide.values(), key=lambda p: math.prod(p.dims)).layout
        operands = [
            t.moved(wide[x], layout)
            if x in wide
            else _constant(t, t.weight(node, i), shape, layout)
            for i, x in enumerate(node.inputs)
        ]
        t.put(node.outputs[0], t.add(node, kind, operands, shape, layout, exact=exact))

    return write


def _wide(t: Translation, node: NodeView, tensor: str, rank: int) -> Placed:
    """``tensor`` with axes of one value in front."""
    x = t.data(node, tensor)
    more = rank - len(x.dims)
    if not more:
        return x
    layout = (*range(more), *(a + more for a in x.layout))
    dims = (*(1,) * more, *x.dims)
    op = t.reshape(f"{x.op}_reshape", x.op, dims)
    return Placed(op, dims, layout, exact=x.exact, position=x.position)


def _constant(t: Translation, given: Parameter, shape: tuple[int, ...], layout: Layout) -> Placed:
    whole = given.arrange(lambda v: np.broadcast_to(v, shape).transpose(layout))
    exact = given.position is not None
    return Placed(t.hold(whole), whole.values.shape, layout, exact=exact, position=given.position)


PRODUCT = broadcast("mul")


def mul(t: Translation, node: NodeView) -> None:
    """Mul; one that only spells out the multiplier behind a mean is left out."""
    for tensor, other in (node.inputs, node.inputs[::-1]):
        factor = t.parameter(other)
        x = t.placed.get(tensor)
        if x is None or factor is None or factor.position is not None or factor.values.size != 1:
            continue
        number = float(factor.values.reshape(-1)[0])
        if x.gain != 1.0 and math.isclose(number, x.gain, rel_tol=SAME_FACTOR):
            t.put(node.outputs[0], x)
            return
    PRODUCT(t, node)


def unary(kind: str, exact: bool | None = None, **attributes: Attribute) -> Write:
    """An op of one operand, whose result lies as it does."""

    def write(t: Translation, node: NodeView) -> None:
        x = t.data(node, node.inputs[0])
        found = t.add(node, kind, (x,), x.shape, x.layout, attributes, exact=exact)
        t.put(node.outputs[0], found)

    return write


CLIPS: dict[tuple[float | None, float | None], tuple[str, ...]] = {
    (0.0, None): ("relu",),
    (0.0, 6.0): ("relu6",),
    (0.0, 1.0): ("relu", "hard-tanh"),
    (-1.0, 1.0): ("hard-tanh",),
}
"""Bounds of a Clip -> the ops that it is written as."""


def clip(t: Translation, node: NodeView) -> None:
    """Clip to bounds that XIR has an op for."""
    for slot in (1, 2):
        t.constant(node, slot, "bound")
    bounds = clip_bounds(t.view, node)
    if bounds not in CLIPS:
        raise refusal(node, f"it clips to {list(bounds)}; XIR clips to [0, 6], [0, 1] and [-1, 1]")
    x = t.data(node, node.inputs[0])
    for kind in CLIPS[bounds]:
        x = t.add(node, kind, (x,), x.shape, x.layout)
    t.put(node.outputs[0], x)


def leaky_relu(t: Translation, node: NodeView) -> None:
    """LeakyRelu, its slope a number of 256ths where the DPU computes it."""
    x, alpha = t.data(node, node.inputs[0]), float(node.attributes.get("alpha", 0.01))
    slope = round(2**SLOPE_BITS * alpha) / 2**SLOPE_BITS if x.exact else alpha
    t.put(node.outputs[0], t.add(node, "leaky-relu", (x,), x.shape, x.layout, {"alpha": slope}))


def _gate(t: Translation, node: NodeView, x: Placed) -> Placed:
    """``hard-sigmoid``, and the DPU's multiplier behind it."""
    gate = t.add(node, "hard-sigmoid", (x,), x.shape, x.layout)
    return t.scaled(node, gate, GATE_FACTOR) if x.exact else gate


def hard_sigmoid(t: Translation, node: NodeView) -> None:
    """HardSigmoid of slope 1/6 and offset 1/2."""
    if not is_hard_sigmoid(node.attributes):
        raise refusal(node, "XIR's hard-sigmoid has the slope 1/6 and the offset 1/2 only")
    x = _gate(t, node, t.data(node, node.inputs[0]))
    gain = GATE_FACTOR if x.exact else 1.0
    t.put(node.outputs[0], Placed(x.op, x.dims, x.layout, exact=x.exact, gain=gain))


def hard_swish(t: Translation, node: NodeView) -> None:
    """HardSwish: its gate on a grid of position 7, times its input."""
    x = t.data(node, node.inputs[0])
    gate = _gate(t, node, x)
    if x.exact:
        op = t.builder.fix(f"{gate.op}_fix", gate.op, gate.dims, SWISH_POSITION)
        gate = Placed(op, gate.dims, gate.layout, exact=True, position=SWISH_POSITION)
    product = t.add(node, "mul", (gate, x), x.shape, x.layout, wish=f"{node.name}_product")
    t.put(node.outputs[0], product)


def alpha(kind: str) -> Write:
    """An activation of the CPU with one number, 1 where ONNX does not give it."""

    def write(t: Translation, node: NodeView) -> None:
        unary(kind, exact=False, alpha=float(node.attributes.get("alpha", 1.0)))(t, node)

    return write


def square(t: Translation, node: NodeView) -> None:
    """Pow by 2, as a product, on the CPU."""
    exponent = t.constant(node, 1, "exponent")
    if exponent is None or exponent.size != 1 or float(exponent.reshape(-1)[0]) != 2.0:
        raise refusal(node, "XIR has no power but a square")
    x = t.data(node, node.inputs[0])
    t.put(node.outputs[0], t.add(node, "mul", (x, x), x.shape, x.layout, exact=False))


def absolute(t: Translation, node: NodeView) -> None:
    """Abs, as the larger of a value and its negative, on the CPU."""
    x = t.data(node, node.inputs[0])
    less = t.add(*(node, "neg", (x,), x.shape, x.layout), wish=f"{node.name}_neg", exact=False)
    t.put(node.outputs[0], t.add(node, "max", (x, less), x.shape, x.layout, exact=False))


def gelu(t: Translation, node: NodeView) -> None:
    """Gelu by erf, on the CPU."""
    if node.attributes.get("approximate", "none") != "none":
        raise refusal(node, "XIR's gelu is the one by erf, not by tanh")
    unary("gelu", exact=False)(t, node)


def prelu(t: Translation, node: NodeView) -> None:
    """PRelu of one slope, or one per channel, on the CPU."""
    x, slope = t.image(node, node.inputs[0]), t.weight(node, 1)
    if slope.values.size not in (1, x.dims[3]):
        raise refusal(node, f"its slopes have the shape {list(slope.values.shape)}")
    held = t.hold(slope.arrange(lambda v: v.reshape(-1)))
    found = t.add(*(node, "prelu", (x,), x.shape, x.layout), exact=False, more={"weight": (held,)})
    t.put(node.outputs[0], found)


def softmax(t: Translation, node: NodeView) -> None:
    """Softmax along one axis, on the CPU."""
    x = t.data(node, node.inputs[0])
    axis = int(node.attributes.get("axis", -1 if t.view.opset >= 13 else 1)) % len(x.dims)
    if t.view.opset < 13 and math.prod(x.shape[axis + 1 :]) > 1:
        raise refusal(node, "it runs over several axes at once (before opset 13)")
    at = x.layout.index(axis)
    found = t.add(node, "softmax", (x,), x.shape, x.layout, {"axis": at}, exact=False)
    t.put(node.outputs[0], found)


def batch_norm(t: Translation, node: NodeView) -> None:
    """BatchNormalization that no layer absorbed, on the CPU."""
    x = t.data(node, node.inputs[0])
    names = ("gamma", "beta", "moving_mean", "moving_var")
    held = {name: (t.hold(t.weight(node, i)),) for i, name in enumerate(names, 1)}
    epsilon = float(np.float32(node.attributes.get("epsilon", 1e-5)))
    found = t.add(
        *(node, "batchnorm", (x,), x.shape, x.layout),
        {"axis": x.layout.index(1), "epsilon": epsilon},
        exact=False,
        more=held,
    )
    t.put(node.outputs[0], found)


def instance_norm(t: Translation, node: NodeView) -> None:
    """InstanceNormalization of an image, on the CPU."""
    _normalize(t, node, "instancenorm", {}, (t.weight(node, 1), t.weight(node, 2)))


def group_norm(t: Translation, node: NodeView) -> None:
    """GroupNormalization of an image, on the CPU."""
    channels, groups = t.shape(node, node.inputs[0])[1], int(node.attributes["num_groups"])
    counts: dict[str, Attribute] = {"num_groups": groups, "num_channels": channels}
    factors = []
    for slot in (1, 2):
        given = t.weight(node, slot)
        each = channels // given.values.size  # one per group before opset 21
        factors.append(given.arrange(partial(np.repeat, repeats=each)))
    _normalize(t, node, "groupnorm", counts, factors)


def _normalize(
    t: Translation,
    node: NodeView,
    kind: str,
    counts: dict[str, Attribute],
    factors: Sequence[Parameter],
) -> None:
    x = t.image(node, node.inputs[0])
    epsilon = float(np.float32(node.attributes.get("epsilon", 1e-5)))
    held = {name: (t.hold(f),) for name, f in zip(("weight", "bias"), factors, strict=True)}
    whole: dict[str, Attribute] = {**counts, "eps": epsilon, "affine": True}
    found = t.add(node, kind, (x,), x.shape, x.layout, whole, exact=False, more=held)
    t.put(node.outputs[0], found)


def alias(t: Translation, node: NodeView) -> None:
    """Identity, and Dropout as it is run."""
    x = t.placed.get(node.inputs[0])
    if x is None:
        t.parameters[node.outputs[0]] = t.weight(node, 0)
    else:
        t.put(node.outputs[0], x)
