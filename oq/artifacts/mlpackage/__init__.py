"""A Core ML package (``.mlpackage``, ML program) read back, by oq's own reader and arithmetic.

``folder.py`` finds the files by the manifest, ``schema.py`` holds the part of Apple's protobuf that
a program needs, ``blobs.py`` the layout of ``weight.bin``; ``parse.py`` makes of them the values of
``program.py``.  ``evaluate.py`` computes a program with the rows of ``ops/``, ``grids.py`` lists
its scales, zero points and weights.  Needs no coremltools.  May import ``numerics`` and ``errors``.

Sources: Apple's published Model.proto, FeatureTypes.proto and MIL.proto, and the reference of MIL
operations (https://apple.github.io/coremltools).
"""
