"""Runs the float model on samples and keeps statistics of its tensors; caches and range files.

Statistics merge exactly, so batches are spread over the cores, one single-threaded run each; a
cache resumes where it stopped and shards join to the single run, byte for byte.  One pass serves
every calibrator.  May import ``planning``, ``data``, ``model`` and ``numerics``.
"""
