"""Float model against quantized model: errors, accuracy, kernels, latency, and where the error is
made.

``layers`` matches tensors by name and runs the float model's layers on the quantized model's
values, so that each layer's own error is what is left; ``error_shares`` gives that error alone to
the float model to see what share of the output error it causes.  May import ``engines``, ``model``
and ``numerics``.
"""
