"""The passes, in the order they run.

In front of them the file itself is changed: functions are inlined, floats become float32, the opset
is raised, fused operators are written out.  Then constant folding comes first, since all other
passes depend on what is constant; then no-ops, since an Identity may be between any two nodes; then
type inference, and after it the passes that need ranks; Mul and Add are folded into a
BatchNormalization before that is folded into its layer.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import onnx

from oq.errors import ModelError
from oq.model.bodies import nodes_in
from oq.model.functions import without_functions
from oq.model.graph import Graph
from oq.model.metadata import target_of
from oq.model.qoperators import BY_NAME
from oq.model.stored import put_away
from oq.prepare.bias_apart import bias_apart
from oq.prepare.bias_as_matrix import bias_as_matrix
from oq.prepare.cast_like import cast_like
from oq.prepare.constant_left import constant_left
from oq.prepare.div_to_mul import div_to_mul
from oq.prepare.drop_dilations import drop_dilations
from oq.prepare.drop_noops import drop_casts, drop_noops
from oq.prepare.einsum_to_matmul import einsum_to_matmul
from oq.prepare.fold_affine import fold_affine
from oq.prepare.fold_batchnorm import fold_batchnorm
from oq.prepare.fold_constants import fold_constants
from oq.prepare.fold_pad import fold_pad
from oq.prepare.fold_scaling import fold_scaling
from oq.prepare.gemm_operands import gemm_operands
from oq.prepare.harden_sigmoid import harden_sigmoid
from oq.prepare.infer_types import infer_types
from oq.prepare.insert_rescale import insert_rescale
from oq.prepare.line_to_image import line_to_image
from oq.prepare.lower_opset import lower_opset
from oq.prepare.mean_to_pool import mean_to_pool
from oq.prepare.norm_to_conv import inner_norm_to_conv, norm_to_conv
from oq.prepare.outcome import Outcome
from oq.prepare.outputs_apart import outputs_apart
from oq.prepare.plain_gemm import plain_gemm
from oq.prepare.raise_opset import raise_opset
from oq.prepare.reduce_apart import reduce_apart
from oq.prepare.round_slopes import round_edge_slope, round_slopes
from oq.prepare.shortcut_to_conv import shortcut_to_conv
from oq.prepare.split_groups import split_groups
from oq.prepare.split_mean import split_mean
from oq.prepare.squeeze_weight import squeeze_weight
from oq.prepare.sum_to_add import sum_to_add
from oq.prepare.unfuse import least_opset, unfuse
from oq.prepare.upright_gemm import upright_gemm
from oq.prepare.widen_floats import OwnTypes, widen_floats
from oq.prepare.widen_input import widen_input
from oq.prepare.write_attributes import write_attributes

PASSES: tuple[Callable[[Graph], Outcome], ...] = (
    fold_constants,
    outputs_apart,
    drop_noops,
    infer_types,
    cast_like,
    drop_casts,
    einsum_to_matmul,
    squeeze_weight,
    constant_left,
    bias_apart,
    gemm_operands,
    sum_to_add,
    fold_affine,
    fold_batchnorm,
    fold_pad,
    mean_to_pool,
    drop_dilations,
)

BY_REQUEST: Mapping[str, Callable[[Graph], Outcome]] = {
    "div_to_mul": div_to_mul,
    "fold_scaling": fold_scaling,
    "inner_norm_to_conv": inner_norm_to_conv,
    "line_to_image": line_to_image,
    "norm_to_conv": norm_to_conv,
    "split_groups": split_groups,
    "split_mean": split_mean,
    "harden_sigmoid": harden_sigmoid,
    "insert_rescale": insert_rescale,
    "reduce_apart": reduce_apart,
    "round_edge_slope": round_edge_slope,
    "round_slopes": round_slopes,
    "write_attributes": write_attributes,
    "plain_gemm": plain_gemm,
    "upright_gemm": upright_gemm,
    "bias_as_matrix": bias_as_matrix,
    "shortcut_to_conv": shortcut_to_conv,
    "widen_input": widen_input,
}
"""Passes that only some targets need, which name them in ``Target.passes``; they run last."""

QUANTIZED = frozenset(
    {
        "DequantizeLinear",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeLinear",
        "MatMulNBits",
        "QuantizeLinear",
        *BY_NAME,
    }
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The prepared graph, the outcome of each pass, and the types of the model that it was."""

    graph: Graph
    outcomes: dict[str, Outcome]
    own: OwnTypes


def prepare(model: onnx.ModelProto, min_opset: int, requested: tuple[str, ...] = ()) -> Prepared:
    """Run every pass, and the ``requested`` ones; ``model`` itself is not changed.

    Raises:
        ModelError: the model is quantized already, or its opset can be neither raised nor lowered.
    """
    model = without_functions(model)
    refuse_quantized(model)
    model, own = widen_floats(model)
    model = put_away(model)
    model, unfused = unfuse(raise_opset(model, max(min_opset, least_opset(model))))
    graph = Graph(lower_opset(model))
    graph.cleanup()  # what no output needs would be planned and calibrated all the same
    outcomes = {unfuse.__name__: unfused}
    outcomes |= {step.__name__: step(graph) for step in steps_of(requested)}
    return Prepared(graph, outcomes, own)


def steps_of(requested: Iterable[str]) -> tuple[Callable[[Graph], Outcome], ...]:
    """Every pass, and the ``requested`` ones, in order."""
    return (*PASSES, *(BY_REQUEST[name] for name in requested))


def refuse_quantized(model: onnx.ModelProto) -> None:
    """Refuse models that are already quantized.

    Raises:
        ModelError: the graph holds Q/DQ or integer kernels already.
    """
    found = next((n for n in nodes_in(model.graph) if n.op_type in QUANTIZED), None)
    if found is not None:
        name = found.name or next(filter(None, found.output), "")
        target = target_of(model)
        made = "" if target is None else f" oq made it from, for target {target}"
        raise ModelError(
            f"the model is quantized already: node {name!r} is a {found.op_type}; "
            f"give the float model{made} (oq check and oq verify take quantized ones)"
        )
