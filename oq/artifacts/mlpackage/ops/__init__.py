"""What each MIL operation computes: functions of arrays, one file per family.

A function's parameters are the inputs of the operation under MIL's names, with MIL's defaults: what
a package gives beyond them is refused (:mod:`.table`).  Floats come and go as float32 (or wider);
``evaluate.py`` rounds results to their declared type.  May import ``numerics`` and ``errors``.

Facts: the reference of MIL operations,
https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""
