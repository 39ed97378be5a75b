"""Quantize model.onnx for TensorRT, calibrated on calib.npz (keys are input names)."""

import oq

result = oq.quantize("model.onnx", target="trt", data="calib.npz")
result.save("model.int8.onnx")
print(result.report)
