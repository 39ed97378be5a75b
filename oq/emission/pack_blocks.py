"""A blockwise DequantizeLinear and the product that reads it -> one MatMulNBits.

onnxruntime makes this rewrite itself when it loads a Q/DQ file, with the same kernel.  Made in the
file, it takes a tenth of the time to load, a weight that several layers share is stored once
(onnxruntime fuses only a DequantizeLinear whose constants nothing else reads), and the file says
how the data is rounded.  Measured in docs/targets/ort.md.
"""

from math import prod

from oq.model.graph import Graph
from oq.model.nbits import DOMAIN, OP, Packed, bits_of, pack
from oq.model.operands import bias_input, weight_input
from oq.model.qdq import block_size, codes_dtype, dequantized_by, stored
from oq.model.view import GraphView, NodeView
from oq.numerics.grid import PIECE
from oq.parallel import map_ahead


def pack_blocks(graph: Graph, accuracy_level: int) -> int:
    """Rewrite every layer of ``graph`` whose weight (in, out) is in blocks along ``in``, in place;
    returns their number.

    ``accuracy_level``: 4 for a kernel that rounds the data to int8, block by block, 0 for float.
    """
    view, held = graph.view(), dict[str, tuple[str, ...]]()
    found = [(node, dq) for node in view.nodes if (dq := _in_blocks(view, node)) is not None]
    stored = {dq.inputs[0]: dq for _, dq in found}  # each once
    packed = map_ahead(
        lambda dq: _pack(view, dq),
        stored.values(),
        lambda dq: prod(view.constant_shape(dq.inputs[0])) > PIECE,
    )
    for node, dq in found:
        codes = dq.inputs[0]
        if codes not in held:
            held[codes] = _store(graph, dq, next(packed))
        bias = bias_input(node)
        rows, columns = view.constant_shape(codes)
        graph.recast(
            node.name,
            OP,
            (node.inputs[0], *held[codes], *(() if bias is None else ("", bias))),
            {
                "K": rows,
                "N": columns,
                "bits": bits_of(codes_dtype(view, dq)),
                "block_size": block_size(dq),
                "accuracy_level": accuracy_level,
            },
            domain=DOMAIN,
        )
    graph.cleanup()
    return len(found)


def _in_blocks(view: GraphView, node: NodeView) -> NodeView | None:
    """The DequantizeLinear of the blocks that ``node`` multiplies by."""
    weight = weight_input(node)
    dq = None if weight is None else dequantized_by(view, weight)
    return None if dq is None or not _is_upright(view, node, dq) else dq


def _is_upright(view: GraphView, node: NodeView, dq: NodeView) -> bool:
    """Whether ``dq`` dequantizes stored blocks along the inputs of a weight (in, out)."""
    blocks = block_size(dq) is not None and stored(view, dq)
    return blocks and dq.attributes.get("axis") == 0 and not node.attributes.get("transB")


def _pack(view: GraphView, dq: NodeView) -> Packed:
    codes, scale, zero = (view.constants[name] for name in dq.inputs)
    return pack(codes, scale, zero, block_size(dq) or 1)


def _store(graph: Graph, dq: NodeView, packed: Packed) -> tuple[str, ...]:
    """The names of the packed codes, scales and zero points ("" where there are none)."""
    name = dq.inputs[0].removesuffix("_quantized")
    points = "" if packed.zero is None else graph.add_constant(f"{name}_zero_points", packed.zero)
    return (
        graph.add_constant(f"{name}_packed", packed.codes),
        graph.add_constant(f"{name}_scales", packed.scale),
        points,
    )
