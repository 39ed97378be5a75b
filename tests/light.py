"""The light models of the onnx package: real structures, weights that are generated when run."""

from itertools import pairwise
from pathlib import Path

import onnx
import onnx.backend.test
from onnx import numpy_helper

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"

LIGHT = ("squeezenet", "shufflenet", "inception_v1", "inception_v2", "resnet50", "densenet121")
HUGE = ("bvlc_alexnet", "zfnet512", "vgg19")
"""250 to 570 MB of weights once they are generated."""

NARROW = 64
"""Features of the hidden linear layers of :func:`narrow`."""


def light(name: str) -> Path:
    return FOLDER / f"light_{name}.onnx"


def narrow(name: str) -> onnx.ModelProto:
    """One of :data:`HUGE` whose hidden linear layers have 64 features, not 1,024 to 4,096: the same
    nodes and the same convolutions with a tenth of the weights."""
    model = onnx.load(light(name))
    shapes = {t.name.removesuffix("__SHAPE"): t for t in model.graph.initializer}
    layers = [[shapes[t] for t in n.input[1:]] for n in model.graph.node if n.op_type == "Gemm"]
    for layer, behind in pairwise(layers):
        weight, bias = (numpy_helper.to_array(t).copy() for t in layer)
        after = numpy_helper.to_array(behind[0]).copy()
        weight[0], bias[0], after[1] = NARROW, NARROW, NARROW
        for tensor, shape in (*zip(layer, (weight, bias), strict=True), (behind[0], after)):
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    del model.graph.value_info[:]
    return model
