"""onnxruntime's variants: the same integers on ARM, shifted by 128."""

import numpy as np
import onnx

import oq
from tests import golden_layers

DATA = np.random.default_rng(0).normal(size=(8, 4, 8, 8)).astype(np.float32)


def grids(model: onnx.ModelProto) -> dict[str, tuple[float, str, int]]:
    """tensor -> scale, dtype and zero point of its activation grid."""
    held = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    pairs = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    return {
        n.output[0]: (float(held[n.input[1]]), str(held[n.input[2]].dtype), int(held[n.input[2]]))
        for n in pairs
    }


def test_arm_has_the_codes_of_x86_minus_128() -> None:
    float_model = golden_layers.sigmoid()
    x86 = grids(oq.quantize(float_model, "ort", DATA, verify=False).model)
    settings = {"platform": "arm"}
    arm_model = oq.quantize(float_model, "ort", DATA, settings=settings, verify=False).model
    arm = grids(arm_model)
    assert set(arm) == set(x86)
    for name, (scale, dtype, zero) in x86.items():
        assert dtype == "uint8"
        assert arm[name] == (scale, "int8", zero - 128)
    assert oq.check(arm_model, "ort", settings=settings) == ()
    found = oq.verify(float_model, arm_model, DATA, latency=False)
    assert found.kernels.floating == 0
