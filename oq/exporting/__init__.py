"""From a torch module to an ONNX model; the one part that needs torch."""
