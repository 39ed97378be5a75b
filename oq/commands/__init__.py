"""All commands except ``quantize`` and ``verify``, the flags, and console output.

Nothing heavy is imported until a command runs.  May import everything except :mod:`oq.cli`.
"""
