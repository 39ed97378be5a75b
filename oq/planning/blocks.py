"""What a kernel needs of a weight whose data is float in the graph: predicates of the rules for
weight-only quantization, and for ranges at run time.

onnxruntime fuses a blockwise DequantizeLinear and the MatMul or Gemm that reads it into
``MatMulNBits``, whose weight is a matrix (in, out) with blocks along ``in`` and whose bias has one
value per output (``core/optimizer/qdq_transformer``, probed with onnxruntime 1.32).  The number of
inputs need not be a multiple of the block size: the last block may be shorter.
"""

from oq.model.operands import bias_input, recurrent_input, weight_input
from oq.model.view import GraphView
from oq.planning.target import Match

AT_RUN_TIME = "only {layers} take their ranges at run time"
"""The same where layers quantize their data themselves."""

ONLY_WEIGHTS = "only the weights of {layers} are quantized; activations stay in float"
"""Why every other op is left in float."""


def has_no_weight(view: GraphView, match: Match) -> str | None:
    """A product of two activations, or a weight that is computed."""
    if view.is_constant(weight_input(match.anchor) or ""):
        return None
    return "both operands are computed at run time, so there is no weight to store"


def recurrence_is_not_stored(view: GraphView, match: Match) -> str | None:
    """The kernel takes both weights as constants, and sequences along the first axis."""
    node = match.anchor
    recurrent = recurrent_input(node)
    if recurrent is None or not view.is_constant(recurrent):
        return f"its recurrent weight {recurrent!r} is computed at run time"
    return f"{node.name!r} has layout=1" if node.attributes.get("layout") else None


def weight_is_no_matrix(view: GraphView, match: Match) -> str | None:
    """The kernels take a matrix: blocks lie along one of its two axes."""
    weight = weight_input(match.anchor)
    rank = None if weight is None else view.rank(weight)
    if rank == 2:
        return None
    return f"its weight {weight!r} has {rank} axes, and the kernel takes a matrix"


def bias_is_no_row(view: GraphView, match: Match) -> str | None:
    """The kernel adds one value per output, computed or not."""
    bias = bias_input(match.anchor)
    if bias is None or view.rank(bias) == 1:
        return None
    return f"its bias {bias!r} is not one value per output, as the kernel takes it"
