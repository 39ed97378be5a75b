"""Exports a torch module to ONNX; :func:`~oq.exporting.load.load` accepts modules, paths and
models.

Together with ``refine/adaround.py`` the only part that needs torch.  May import ``model`` and
``numerics``.
"""
