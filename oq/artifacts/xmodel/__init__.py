"""Reader of ``.xmodel``, the graph format of AMD's DPU tools (XIR).

``wire`` parses protobuf's bytes by a table of field numbers, ``file`` makes ops of them, ``rules``
is what AMD's loader demands of every op with the shape that follows (``shapes``), ``kernels`` is
the arithmetic of the DPU op by op (``moves`` of those that only move values, ``windows`` below
both), and ``reader`` the :class:`~oq.artifacts.artifact.Artifact`.  May import ``numerics``; never
``oq.dpu``, which it is compared with.
"""
