"""onnxruntime's fused layers and activations as standard nodes: convolution, Gemm, MatMul, Gelu.

Each function writes what its operator computes (onnxruntime's ``ContribOperators.md``), and returns
False where it cannot, in which case the node stays as it is.
"""

from collections.abc import Mapping

from oq.prepare.standard_nodes import Writer

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "": (),
    "Clip": ("min", "max"),
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Selu": ("alpha", "gamma"),
    "Sigmoid": (),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "ThresholdedRelu": ("alpha",),
}
"""Activation -> its parameters, in the order of ``activation_params``."""


def fused_conv(writer: Writer) -> bool:
    """``activation(Conv(x, w, b) + z)``."""
    given = dict(writer.attributes)
    activation, values = given.pop("activation", ""), given.pop("activation_params", ())
    names = PARAMETERS.get(activation)
    if names is None or len(values) > len(names):
        return False
    reads = [writer.input(slot) for slot in range(3)]
    made = writer.add("Conv", reads if reads[2] else reads[:2], **given)
    if writer.input(3):
        made = writer.add("Add", [made, writer.input(3)])
    return _activate(writer, made, activation, dict(zip(names, values, strict=False)))


def fused_gemm(writer: Writer) -> bool:
    """``activation(alpha A B + beta C)``; attributes ``activation_alpha`` and so on are its own."""
    given = dict(writer.attributes)
    activation = given.pop("activation", "")
    own = {k: given.pop(k) for k in list(given) if k.startswith("activation_")}
    if activation not in PARAMETERS:
        return False
    values = {k.removeprefix("activation_"): v for k, v in own.items()}
    known = {k: v for k, v in values.items() if k in PARAMETERS[activation]}
    reads = [writer.input(slot) for slot in range(3)]
    made = writer.add("Gemm", reads if reads[2] else reads[:2], **given)
    return _activate(writer, made, activation, known)


def _activate(writer: Writer, made: str, activation: str, values: Mapping[str, float]) -> bool:
    if activation == "Clip":
        ends = [writer.constant(values[n]) if n in values else "" for n in ("min", "max")]
        made = writer.add(activation, [made, *ends])
    elif activation:
        made = writer.add(activation, [made], "", **values)
    writer.finish(made)
    return True


def fused_matmul(writer: Writer) -> bool:
    """``alpha A' B'``, with the last two axes of a side exchanged (``transA``), and its first axis
    moved behind the other axes of the batch (``transBatchA``)."""
    sides = []
    alpha = float(writer.attributes.get("alpha", 1.0))
    for slot, side in enumerate("AB"):
        tensor = writer.input(slot)
        flip, turn = (bool(writer.attributes.get(f"{n}{side}")) for n in ("trans", "transBatch"))
        if flip or turn:
            rank = writer.rank(tensor)
            if rank is None:
                return False
            tensor = _turned(writer, tensor, rank, flip, turn)
        if slot == 1 and writer.input(slot) in writer.constants:
            tensor, alpha = writer.scaled(tensor, alpha), 1.0  # is folded into the weight
        sides.append(tensor)
    writer.finish(writer.scaled(writer.add("MatMul", sides), alpha))
    return True


def _turned(writer: Writer, tensor: str, rank: int, flip: bool, turn: bool) -> str:
    axes = list(range(rank))
    if turn and rank > 2:
        axes = [*axes[1:-1], 0, axes[-1]]
    if flip and rank > 1:
        axes[-2:] = axes[:-3:-1]
    if axes == sorted(axes):
        return tensor
    return writer.add("Transpose", [tensor], perm=axes)


def gelu(writer: Writer) -> bool:
    """``x Phi(x)``."""
    writer.finish(writer.gelu(writer.input(0), "none"))
    return True


def bias_gelu(writer: Writer) -> bool:
    """``Gelu(x + b)``."""
    biased = writer.add("Add", [writer.input(0), writer.input(1)])
    writer.finish(writer.gelu(biased, "none"))
    return True


def fast_gelu(writer: Writer) -> bool:
    """``Gelu(x + b)`` by Tanh; b is optional."""
    x = writer.input(0)
    if writer.input(1):
        x = writer.add("Add", [x, writer.input(1)])
    writer.finish(writer.gelu(x, "tanh"))
    return True


def quick_gelu(writer: Writer) -> bool:
    """``x sigmoid(alpha x)``."""
    x = writer.input(0)
    scaled = writer.scaled(x, float(writer.attributes.get("alpha", 1.702)))
    writer.finish(writer.add("Mul", [x, writer.add("Sigmoid", [scaled])]))
    return True
