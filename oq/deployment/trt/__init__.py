"""The format ``trt``: a Python script that builds a TensorRT engine and times it.

TensorRT builds an engine on the machine that runs it, so what is written is the way to do so:
``profiles.py`` settles the shapes, ``lines.py`` has trtexec's lines, ``script.py`` writes the
script, whose functions are those of ``engine.py``.  Where the package tensorrt is installed,
``build.py`` builds the engine and compares each layer's precision with the forecast of ``oq
check``.  May import what ``deployment`` may.
"""
