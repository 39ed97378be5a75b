"""Targets: one file, one table of typed rows."""

if __name__ != "oq.targets":
    raise ImportError("import oq.targets, not targets")
