"""Compares a float model with a quantized one: output errors, accuracy, kernels, latency, layer
errors.

``layers`` matches tensors by name and runs the float model's layers on the quantized model's
values, which isolates the error of each layer; ``error_shares`` adds that error alone to the float
model to measure its share of the output error.  ``channels`` judges an output by channel, and
``prove`` tries once what oq made.  ``reference`` is the float model that
onnxruntime runs.  May import ``engines``, ``prepare``, ``model`` and ``numerics``.
"""
