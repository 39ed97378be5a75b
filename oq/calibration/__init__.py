"""Runs the float model on samples and collects statistics of its tensors; caches and range files.

Statistics merge exactly, so batches are distributed over the cores, one single-threaded run each; a
cache can be resumed, and merged shards equal a single run, byte for byte.  One pass serves every
calibrator.  ``apart`` finds Concats whose operands do not fit one grid.  May import ``planning``,
``data``, ``model`` and ``numerics``.
"""
