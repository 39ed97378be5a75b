"""Convolutions of integers held in floating point, by onnxruntime where float32 holds them.

Sums of products below 2**24 are exact in float32 in any order, so onnxruntime's kernel gives the
integers that NumPy's product of windows gives (:mod:`oq.numerics.windows`), without copies of the
windows and in less time: a fifth of it for depthwise layers, nine tenths for 1x1 ones.
"""

from functools import lru_cache

import numpy as np
import onnx
from onnx import TensorProto, helper

from oq.model.session import SERIAL, Session
from oq.numerics.values import Array
from oq.numerics.windows import Windows
from oq.numerics.windows import convolve as convolve_windows

SHAPES = 256
"""Sessions that are kept: one for every kind of window and number of groups."""


def convolve(x: Array, weight: Array, windows: Windows, group: int) -> Array:
    """Convolution of ``x`` (sample, channel, spatial...) with ``weight`` (out, in / group,
    kernel...), whose sums the type of both represents exactly."""
    if x.dtype != np.float32 or not x.size:
        return convolve_windows(x, weight, windows, group)
    return _session(windows, group).run({"x": x, "w": weight})[0]


@lru_cache(SHAPES)
def _session(windows: Windows, group: int) -> Session:
    rank = len(windows.kernel)
    before, after = ([p[i] for p in windows.pads] for i in (0, 1))
    node = helper.make_node(
        *("Conv", ["x", "w"], ["y"]),
        kernel_shape=list(windows.kernel),
        strides=list(windows.strides),
        dilations=list(windows.dilations),
        pads=[*before, *after],
        group=group,
    )
    shape = [None] * (2 + rank)
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xwy"]
    graph = helper.make_graph([node], "conv", values[:2], values[2:])
    opsets = [helper.make_opsetid("", 13)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return Session(model, SERIAL)
