"""``--to xmodel``: a Q/DQ file of target dpu as an XIR graph, the input of AMD's ``vai_c_xir``.

``shapes`` fixes the batch at 1; ``rows`` is the table from ONNX ops to XIR's (``pairs``,
``layers``, ``elementwise``, ``means``, ``moving``), over a ``translation`` that knows where every
tensor stands (``placed``: the op, and the order of its axes); ``graph`` makes bytes of the ops by
the ``schema``;
``proofs`` compares the file, read back, with the Q/DQ file; ``format`` is the row of the table of
formats.  May import what ``deployment`` may.
"""
