"""AMD's DPU: its arithmetic, and the constraints between its scales, which are all
``2**-position``.

A tensor between two roundings is an integer with a binary point (``fixed_point``), kept in the
float type that holds it exactly, so that convolutions are BLAS calls (``windows``, ``kernels``: a
table from op to equation); ``simulate`` walks a Q/DQ graph with them, and with ONNX's rounding
equals onnxruntime bit for bit. ``positions`` has the inequalities between positions as rows that
say what is wrong and what would move, ``places`` the kernels they bind; ``legalize`` (a step on
solved grids) and ``checks`` (rows of ``oq check``) read the same rows.  Repairs make grids coarser,
so nothing that fitted is cut off, and they end.  May import ``planning``, ``model`` and
``numerics``.
"""
