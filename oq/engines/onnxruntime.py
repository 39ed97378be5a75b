"""onnxruntime as an engine: the deployed mode of :mod:`oq.model.session`."""

import onnx

from oq.engines.engine import Engine, Kernels
from oq.model.session import Session, optimized_ops

INTEGER_KERNELS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QAttention",
        "QGemm",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearConv",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearMatMul",
        "QLinearMul",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QLinearWhere",
    }
)
"""Names of integer kernels in onnxruntime's optimized graphs."""

FLOAT_KERNELS = frozenset(
    {
        "Add",
        "AveragePool",
        "BatchNormalization",
        "BiasGelu",
        "Conv",
        "ConvTranspose",
        "Div",
        "Erf",
        "FastGelu",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "InstanceNormalization",
        "LSTM",
        "LayerNormalization",
        "LeakyRelu",
        "MatMul",
        "Mul",
        "QuickGelu",
        "ReduceMean",
        "Sigmoid",
        "SimplifiedLayerNormalization",
        "SkipLayerNormalization",
        "Softmax",
        "Sub",
        "Tanh",
    }
)
"""Their float counterparts: compute nodes, unlike data movement such as Reshape and Transpose."""


def count_kernels(model: onnx.ModelProto) -> Kernels:
    """The integer and float kernels of onnxruntime's optimized graph."""
    ops = optimized_ops(model)
    integer = sum(n for op, n in ops.items() if op in INTEGER_KERNELS)
    floating = sum(n for op, n in ops.items() if op in FLOAT_KERNELS)
    return Kernels(integer, floating, dict(sorted(ops.items())))


ENGINE = Engine("onnxruntime", Session, lambda model, _loaded: count_kernels(model))
