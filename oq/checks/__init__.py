"""Judges a Q/DQ file of any tool: findings against a target's rules, and a forecast of what runs in
int8.

``legal`` is the table of checks. ``forecast`` reads the graph as a target's rows see it
(``float_view``: stored codes are constants, pairs end a chain), claims it with those rows and the
ones only its runtime has, and asks each match what surrounds it: do its data come from
DequantizeLinear, does a QuantizeLinear follow, does an obstacle of the runtime stand in the way.
May import ``planning``, ``prepare``, ``exporting``, ``model`` and ``numerics``.
"""
