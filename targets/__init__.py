"""Targets: one file each, with a table of rules.

A target may import ``planning``, ``checks``, ``dpu`` and everything below them, or :mod:`oq.plugin`
as third-party targets do: no NumPy, no onnx, and no other target.
"""

if __name__ != "oq.targets":
    raise ImportError("import oq.targets, not targets")
