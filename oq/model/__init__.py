"""An ONNX model: its files, the graph and a read-only view of it, sessions, Q/DQ pairs, the table
of ops.

:mod:`~oq.model.graph` alone edits nodes and :mod:`~oq.model.session` alone runs onnxruntime;
``ops``, ``operands``, ``paths`` and ``first_layer`` are facts that hold whatever the target.  May
import ``numerics``.
"""
