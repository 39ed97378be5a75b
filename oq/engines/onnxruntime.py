"""onnxruntime as an engine: the deployed mode of :mod:`oq.model.session`."""

import onnx

from oq.engines.engine import Engine, Kernels
from oq.model.ops import FLOAT_KERNELS, INTEGER_KERNELS
from oq.model.session import Session, optimized_ops


def count_kernels(model: onnx.ModelProto) -> Kernels:
    """The integer and float kernels of onnxruntime's optimized graph."""
    ops = optimized_ops(model)
    integer = sum(n for op, n in ops.items() if op in INTEGER_KERNELS)
    floating = sum(n for op, n in ops.items() if op in FLOAT_KERNELS)
    return Kernels(integer, floating, dict(sorted(ops.items())))


ENGINE = Engine("onnxruntime", Session, lambda model, _loaded: count_kernels(model))
