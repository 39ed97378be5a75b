"""AMD's DPU: its integer arithmetic, and the constraints between its scales, which are
``2**-position``.

Between two roundings a tensor is a fixed-point number (``fixed_point``), stored in the float type
that represents it exactly, so that convolutions are onnxruntime's or BLAS calls (``convolutions``,
``windows``; ``kernels``: a table from op to equation); ``simulate`` runs a Q/DQ graph with them,
and with ONNX's rounding equals onnxruntime bit for bit. ``positions`` is the table of inequalities
between positions, each with a message and the change that would satisfy it, ``places`` finds the
kernels they apply to; ``legalize`` (a step on solved grids) and ``checks`` (for ``oq check``) use
the same table.  Repairs only increase scales, so they do not clip values, and they terminate.  May
import ``planning``, ``model`` and ``numerics``.
"""
