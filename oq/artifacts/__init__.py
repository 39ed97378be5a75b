"""Device files read back: what ``oq deploy`` wrote, opened by readers that share no code with it.

``artifact.py`` holds the contract and the table of readers by suffix; a format is a file or a
folder here.  A reader parses the bytes, tells what they hold (``oq inspect``) and evaluates them in
NumPy (``oq verify FLOAT.onnx FILE``, and the proof of ``oq deploy``).  It never imports
``deployment``, so that a mistake of a writer is not made twice.  ``onnx_file.py`` tells what an
ONNX file of any tool holds, ``onnx_slots.py`` is its table of ops that carry grids, and
``describe.py`` puts the contents of any file in words.  May import ``wording``, ``model`` and
``numerics``.
"""
