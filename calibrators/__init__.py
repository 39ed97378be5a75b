"""Calibrators: one file, one algorithm, a pure function from Statistics to a Range.

A calibrator may import ``numerics`` and NumPy, or :mod:`oq.plugin` as calibrators of others do.
"""

if __name__ != "oq.calibrators":
    raise ImportError("import oq.calibrators, not calibrators")
