"""Graph rewrites that preserve the function: one pass per file.

A pass takes a :class:`~oq.model.graph.Graph`, edits it in place and returns an :class:`Outcome`:
the number of changes, and the reasons where it did not apply.  :data:`oq.prepare.order.PASSES` is
the order they run in; ``tests/prepare`` compares the model before and after every pass in
onnxruntime. May import ``model`` and ``numerics``.
"""
