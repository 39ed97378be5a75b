"""Statistics into scales and zero points, and these into a graph with Q/DQ.

``solve`` computes the grid of every site, ``emit`` inserts Q/DQ without knowledge of ops or
targets, ``write`` applies what the target requires of the whole graph and checks the result.  May
import ``checks``, ``calibration``, ``planning``, ``model`` and ``numerics``.
"""
