"""Variants of the ``ort`` target in which layers read float data: only weights are quantized, or
layers quantize their data when they run.

The rules follow onnxruntime's CPU kernels (probed with onnxruntime 1.32):

* A blockwise DequantizeLinear in front of a MatMul or Gemm becomes a MatMulNBits when the model is
  loaded; oq writes that operator (:mod:`oq.emission.pack_blocks`).
* A product of integers behind a DynamicQuantizeLinear becomes one kernel, MatMulIntegerToFloat or
  DynamicQuantizeMatMul (:mod:`oq.emission.dynamic`).
* A Gather moves the codes of an embedding table (:mod:`oq.planning.tables`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from oq.errors import OptionError
from oq.model.ops import BODIES, OPS
from oq.numerics.values import INT4, INT8, UINT4, UINT8, QType
from oq.planning.blocks import (
    AT_RUN_TIME,
    ONLY_WEIGHTS,
    bias_is_no_row,
    has_no_weight,
    recurrence_is_not_stored,
    weight_is_no_matrix,
)
from oq.planning.predicates import data_is_not_float, first_operand_is_constant, gemm_is_scaled
from oq.planning.tables import picks_no_rows, rows_lose_too_much, table_is_read_in_float
from oq.planning.target import OpRule, Target, as_is

WEIGHTS = (has_no_weight, data_is_not_float, weight_is_no_matrix)
TABLE = OpRule(
    ("Gather",),
    inputs=False,
    constants=True,
    columns=True,
    unless=(picks_no_rows, table_is_read_in_float, rows_lose_too_much),
)
LAYERS = (
    TABLE,
    OpRule(
        ("Gemm",),
        inputs=False,
        unless=(*WEIGHTS, bias_is_no_row, gemm_is_scaled),
    ),
    OpRule(("MatMul",), inputs=False, unless=(first_operand_is_constant, *WEIGHTS)),
)
"""Layers whose data and output are float in the graph: the kernel reads the weight in blocks
(MatMulNBits), or quantizes its data itself (MatMulIntegerToFloat)."""

LSTM = OpRule(
    ("LSTM",), inputs=False, unless=(has_no_weight, data_is_not_float, recurrence_is_not_stored)
)
"""DynamicQuantizeLSTM: both weights are read as integers."""

NO_KERNEL = "onnxruntime has no kernel for it that quantizes its data at run time"

INSIDE = "it contains subgraphs; the weights of products in them are in blocks too, if form=nbits"

BLOCKS = ("32", "16", "64", "128", "256")
"""Inputs that share a scale; MatMulNBits takes powers of two from 16 on."""

ROUNDED, EXACT = 4, 0
"""Accuracy levels of MatMulNBits: the kernel rounds the data to int8 in blocks (45 dB), or computes
in float, which takes 3 times as long with 4 bits and 30 times with 8."""

SYMMETRIC = {"uint4": INT4, "uint8": INT8}


def weights_in_blocks(bits: int, codes: QType) -> Callable[[Target], Target]:
    """``weights=int4``, ``weights=int8``: only weights are quantized, so no data is needed.

    A scale and a zero point per 32 inputs and output channel.  4-bit error on normal weights: 21.8
    dB with zero points and 21.3 without, 19.9 in blocks of 128.
    """

    def variant(target: Target) -> Target:
        only = ONLY_WEIGHTS.format(layers="MatMul and Gemm")
        return replace(
            target,
            summary=f"onnxruntime CPU: {bits}-bit weights of MatMul and Gemm, float activations",
            weights=codes,
            block=int(BLOCKS[0]),
            packs_blocks=ROUNDED,
            min_opset=21,
            rules=LAYERS,
            reasons={**dict.fromkeys(OPS, only), **dict.fromkeys(BODIES, INSIDE)},
            refine=("bias", "round"),
            passes=("plain_gemm", "upright_gemm"),
        )

    return variant


def ranges_at_run_time(target: Target) -> Target:
    """``dynamic=on``: MatMul, Gemm and LSTM take the range of their data when they run."""
    if target.block is not None:
        raise OptionError(
            "--set dynamic=on quantizes the data of layers, and weights=int4 or int8 leaves it in "
            "float; choose one"
        )
    why = AT_RUN_TIME.format(layers="MatMul, Gemm and LSTM with constant weights")
    return replace(
        target,
        summary="onnxruntime CPU: int8 weights, activations with ranges at run time",
        at_run_time=True,
        rules=(*LAYERS, LSTM),
        reasons={**dict.fromkeys(OPS, why), "GRU": NO_KERNEL, "RNN": NO_KERNEL},
        refine=(),  # judged with float data, it gains nothing beside the rounding of the data
        passes=("plain_gemm", "upright_gemm"),
    )


def in_blocks_of(size: str) -> Callable[[Target], Target]:
    """``block=128``: so many inputs share a scale."""

    def variant(target: Target) -> Target:
        _insist_on_blocks(target, f"block={size}")
        return replace(target, block=int(size))

    return variant


def symmetric_blocks(target: Target) -> Target:
    """``zero_points=none``: a scale per block only, of the least squared error, since with 15
    levels the largest weight should be clipped (1 dB)."""
    _insist_on_blocks(target, "zero_points=none")
    return replace(target, weights=SYMMETRIC[target.weights.dtype], weight_range="mse")


def in_q_dq(target: Target) -> Target:
    """``form=qdq``: a blockwise DequantizeLinear, for other readers of ONNX."""
    _insist_on_blocks(target, "form=qdq")
    return replace(target, packs_blocks=None)


def exact_products(target: Target) -> Target:
    """``accuracy_level=0``: the data is not rounded."""
    _insist_on_blocks(target, "accuracy_level=0")
    if target.packs_blocks is None:
        raise OptionError(
            "--set accuracy_level=0: a Q/DQ file does not say it; load it with the session entry "
            "session.qdq_matmulnbits_accuracy_level=0"
        )
    return replace(target, packs_blocks=EXACT)


def float_tables(target: Target) -> Target:
    """``embeddings=float``: tables stay as they are."""
    return replace(target, rules=tuple(r for r in target.rules if r is not TABLE))


def _insist_on_blocks(target: Target, setting: str) -> None:
    if target.block is None:
        raise OptionError(f"--set {setting} is for --set weights=int4 and weights=int8")


FLOAT_DATA: Mapping[str, Mapping[str, Callable[[Target], Target]]] = {
    "weights": {
        "static": as_is,
        "int8": weights_in_blocks(8, UINT8),
        "int4": weights_in_blocks(4, UINT4),
    },
    "block": {size: in_blocks_of(size) if i else as_is for i, size in enumerate(BLOCKS)},
    "zero_points": {"affine": as_is, "none": symmetric_blocks},
    "form": {"nbits": as_is, "qdq": in_q_dq},
    "accuracy_level": {str(ROUNDED): as_is, str(EXACT): exact_products},
    "dynamic": {"off": as_is, "on": ranges_at_run_time},
    "embeddings": {"int8": as_is, "float": float_tables},
}
"""``--set`` key -> value -> variant."""
