"""Checks a Q/DQ file from any tool: findings by a target's rules, and a forecast of what runs in
int8.

``legal`` is the table of checks. ``forecast`` reads the graph in the form that a target's rules
match (``float_view``: quantized constants become float constants, pairs end a chain), matches it
with those rules and the additional ones of its runtime, and examines each match: do its data inputs
come from DequantizeLinear, does a QuantizeLinear follow, does an obstacle of the runtime prevent
int8.  May import ``planning``, ``prepare``, ``exporting``, ``model`` and ``numerics``.
"""
