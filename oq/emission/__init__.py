"""Statistics into grids, and grids into a graph with Q/DQ.

``solve`` turns the five kinds of grid into numbers, ``emit`` is a plain loop that knows no op and
no target, ``write`` adds what a target wants done to the whole graph and checks the result.  May
import ``checks``, ``calibration``, ``planning``, ``model`` and ``numerics``.
"""
