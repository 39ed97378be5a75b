"""What a quantized model lost against the float one, and in which layers."""
