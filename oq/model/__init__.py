"""An ONNX model: its files, the graph and a read-only view of it, sessions, Q/DQ pairs, the op
table.

Only :mod:`~oq.model.graph` edits nodes and only :mod:`~oq.model.session` runs onnxruntime; ``ops``,
``operands``, ``paths`` and ``first_layer`` have facts that do not depend on the target; ``noise``
makes what draws at random repeat itself where models are measured.  May import ``numerics``.
"""
