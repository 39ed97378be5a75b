"""Calibrators: one file, one algorithm, a pure function from Statistics to a Range."""

if __name__ != "oq.calibrators":
    raise ImportError("import oq.calibrators, not calibrators")
