"""Runs the float model on samples and collects statistics of its tensors; caches and range files.

Statistics merge exactly, so batches are distributed over the cores, one single-threaded run each; a
cache can be resumed, and merged shards equal a single run, byte for byte.  One pass serves every
calibrator.  ``measure`` is the entry, ``passes`` runs samples in this process, ``parts`` deals them
out to workers, ``packing`` makes statistics few bytes.  ``apart`` finds Concats whose operands do
not fit one grid.  May import ``planning``, ``data``, ``model``, ``numerics`` and ``parallel``.
"""
