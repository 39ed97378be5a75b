"""Fused operators of onnxruntime -> the standard nodes that they stand for.

A file that onnxruntime's optimizer has saved (``optimized_model_filepath``) holds operators of its
own domain, com.microsoft, and a few in ONNX's domain that ONNX does not define.  No rule of a
target names them, and no other runtime loads them.  Each is written out again, in the bodies of If,
Loop and Scan too; onnxruntime fuses the result as it did before.  What cannot be written out stays,
and is listed as foreign.

Operators of one processor's memory layout (``com.microsoft.nchwc``: weights in blocks of 8 or 16)
are refused.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import onnx

from oq.errors import ModelError
from oq.model.bodies import bodies_of, graphs_in
from oq.model.proto_fields import read_type
from oq.model.session import infer
from oq.numerics.values import Shape
from oq.prepare.fused_attention import attention, multi_head_attention
from oq.prepare.fused_layers import (
    bias_gelu,
    fast_gelu,
    fused_conv,
    fused_gemm,
    fused_matmul,
    gelu,
    quick_gelu,
)
from oq.prepare.fused_norms import (
    LAYER_NORM_OPSET,
    embed_layer_norm,
    rms_norm,
    skip_layer_norm,
    skip_rms_norm,
)
from oq.prepare.outcome import Outcome
from oq.prepare.standard_nodes import Writer

MICROSOFT = "com.microsoft"

FUSED: Mapping[tuple[str, str], Callable[[Writer], bool]] = {
    ("", "SimplifiedLayerNormalization"): rms_norm,
    (MICROSOFT, "Attention"): attention,
    (MICROSOFT, "BiasGelu"): bias_gelu,
    (MICROSOFT, "EmbedLayerNormalization"): embed_layer_norm,
    (MICROSOFT, "FastGelu"): fast_gelu,
    (MICROSOFT, "FusedConv"): fused_conv,
    (MICROSOFT, "FusedGemm"): fused_gemm,
    (MICROSOFT, "FusedMatMul"): fused_matmul,
    (MICROSOFT, "Gelu"): gelu,
    (MICROSOFT, "MultiHeadAttention"): multi_head_attention,
    (MICROSOFT, "QuickGelu"): quick_gelu,
    (MICROSOFT, "SimplifiedLayerNormalization"): rms_norm,
    (MICROSOFT, "SkipLayerNormalization"): skip_layer_norm,
    (MICROSOFT, "SkipSimplifiedLayerNormalization"): skip_rms_norm,
    (MICROSOFT, "TransposeMatMul"): fused_matmul,
}
"""(domain, operator) -> what writes it out."""

NORMALIZING = frozenset({"EmbedLayerNormalization", "SkipLayerNormalization"})
"""Operators that are written with a LayerNormalization."""

LAID_OUT = ("com.microsoft.nchwc", "com.ms.internal.nhwc")
LAID_OUT_OPS = frozenset({"NhwcConv", "NhwcFusedConv", "NhwcMaxPool"})


def least_opset(model: onnx.ModelProto) -> int:
    """The opset that what :func:`unfuse` writes needs, 0 if any will do."""
    nodes = (n for graph in graphs_in(model.graph) for n in graph.node)
    fused = any(n.domain == MICROSOFT and n.op_type in NORMALIZING for n in nodes)
    return LAYER_NORM_OPSET if fused else 0


def unfuse(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Outcome]:
    """``model`` with its fused operators written out, and how many; ``model`` itself if it has
    none.  The opset is 13 or more.

    Raises:
        ModelError: the file is laid out for one kind of processor.
    """
    found = [n for graph in graphs_in(model.graph) for n in graph.node]
    _refuse_laid_out(found)
    if not any((n.domain, n.op_type) in FUSED for n in found):
        return model, Outcome(0)
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    work = _Work(model, {*_names(model.graph)})
    changed = _unfuse(plain.graph, work, {})
    kept = tuple(f"{n} is kept: its form is not one that oq writes out" for n in work.kept)
    return plain, Outcome(changed, kept)


def _refuse_laid_out(nodes: list[onnx.NodeProto]) -> None:
    for node in nodes:
        if node.domain.startswith(LAID_OUT) or (
            node.domain == MICROSOFT and node.op_type in LAID_OUT_OPS
        ):
            raise ModelError(
                f"node {node.name or node.output[0]!r} is a {node.op_type} of domain "
                f"{node.domain}: onnxruntime has laid this file out for one kind of processor; "
                "give the model that it was made of, or save it with ORT_ENABLE_EXTENDED at most"
            )


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name that ``graph`` and its bodies use."""
    for part in graphs_in(graph):
        yield from (v.name for v in (*part.input, *part.output, *part.initializer))
        for node in part.node:
            yield from (node.name, *node.input, *node.output)


@dataclass(slots=True)
class _Work:
    """The model as it came, the names in use, what stays, and the shapes that were looked up."""

    model: onnx.ModelProto
    taken: set[str]
    kept: list[str]
    shapes: dict[str, Shape | None]

    def __init__(self, model: onnx.ModelProto, taken: set[str]) -> None:
        self.model, self.taken, self.kept = model, taken, []
        graph = model.graph
        self.shapes = {v.name: read_type(v).shape for v in (*graph.input, *graph.value_info)}

    def shape(self, tensor: str) -> Shape | None:
        """The shape of a tensor of the main graph, asked of onnxruntime if need be, for it knows
        its own operators."""
        if self.shapes.get(tensor) is None:
            made = [t for n in self.model.graph.node for t in n.output if t]
            wanted = [t for t in made if self.shapes.get(t) is None]
            self.shapes |= dict.fromkeys(wanted)
            if tensor in wanted:
                self.shapes |= {n: i.shape for n, i in infer(self.model, wanted).items()}
        return self.shapes.get(tensor)


def _unfuse(graph: onnx.GraphProto, work: _Work, outer: Mapping[str, onnx.TensorProto]) -> int:
    """Write out the fused nodes of ``graph`` and of bodies in it; how many there were."""
    constants = {**outer, **{t.name: t for t in graph.initializer}}
    for node in graph.node:
        for value in node.attribute if node.op_type == "Constant" else ():
            if value.name == "value":
                constants[node.output[0]] = value.t
    opset = max(o.version for o in work.model.opset_import if o.domain in {"", "ai.onnx"})
    nodes: list[onnx.NodeProto] = []
    changed = 0
    for node in graph.node:
        for _, body in bodies_of(node):
            changed += _unfuse(body, work, constants)
        domain = "" if node.domain == "ai.onnx" else node.domain
        write = FUSED.get((domain, node.op_type))
        if write is None:
            nodes.append(node)
            continue
        writer = Writer(node, opset, work.shape, constants, work.taken)
        if write(writer):
            nodes += writer.nodes
            changed += 1
        else:
            nodes.append(node)
            work.kept.append(f"{node.op_type} {node.name or node.output[0]!r}")
    made = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(made)
    return changed
