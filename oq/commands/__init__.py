"""The commands beside ``quantize`` and ``verify``, their flags, and the one module that prints.

Nothing heavy is imported until a command runs.  May import everything but :mod:`oq.cli`.
"""
