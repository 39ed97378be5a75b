"""Refinement: steps that lower what quantization costs, one step per file.

:mod:`oq.refine.order` is the table of them, :mod:`oq.refine.run` tries and keeps them.
"""
