"""Rewrites that keep the model's meaning: one file, one pass.

A pass takes a :class:`~oq.model.graph.Graph`, edits it in place and returns an :class:`Outcome`:
how many places it changed, and where it declined and why.  :data:`oq.prepare.order.PASSES` is the
order they run in; ``tests/prepare`` runs every pass before and after in onnxruntime.  May import
``model`` and ``numerics``.
"""
