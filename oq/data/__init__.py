"""Data of any kind as a stream of batches that fit the model: opened, sampled, preprocessed, split.

:mod:`~oq.data.source` is the entry point, :mod:`~oq.data.sources` has one module per kind of data.
No source is ever loaded as a whole.  May import ``model`` and ``numerics``.
"""
