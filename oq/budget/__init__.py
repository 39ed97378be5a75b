"""Quantizing within an accuracy budget (``--max-drop``): which layers must stay in float.

``search`` makes candidates by calling the pipeline with more layers in ``keep_float``, so each is a
file like any other; ``proxy`` ranks layers on the grids of the run; ``strategy``, a pure generator,
says which set to try next; ``journal`` keeps everything measured, so that a search resumes.
Neither wider integers nor other types are tried: onnxruntime has no 16-bit integer kernels, so an
int16 layer costs what a float one costs and is less exact.  May import the pipeline and what stands
below.
"""
