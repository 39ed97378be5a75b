"""A Q/DQ file of target ``coreml`` as a Core ML package (``.mlpackage``, an ML program).

``rows.py`` maps ONNX's operators to functions that build their MIL operators, by kind in
``layers.py``, ``pools.py``, ``elementwise.py``, ``reductions.py``, ``norms.py``, ``shapes.py``,
``indexing.py``, ``resizing.py``, ``recurrent.py`` and ``quantizers.py``; ``net.py`` holds what they
build in.  ``program.py`` walks the graph, ``library.py`` alone imports coremltools, ``package.py``
writes the folder and ``prove.py`` compares it with the Q/DQ file, read back by
:mod:`oq.artifacts`.  May import what ``deployment`` may.
"""
