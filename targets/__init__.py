"""Targets: one file, one table of typed rows.

A target may import ``planning``, ``checks``, ``dpu`` and what stands below them, or
:mod:`oq.plugin` as targets of others do: no NumPy, no onnx, and no other target.
"""

if __name__ != "oq.targets":
    raise ImportError("import oq.targets, not targets")
