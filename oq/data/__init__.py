"""Data of every kind as a stream of batches that fit the model: opened, drawn, preprocessed,
divided.

:mod:`~oq.data.source` is the door, :mod:`~oq.data.sources` has one module per kind of data.  No
source is ever loaded whole.  May import ``model`` and ``numerics``.
"""
