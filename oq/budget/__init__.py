"""Quantization within an accuracy budget (``--max-drop``): which layers must stay in float.

``search`` creates candidates by calling the pipeline with more layers in ``keep_float``, so each is
a file like any other; ``proxy`` ranks layers with the scales of the run; ``strategy``, a pure
generator, proposes the next set to try; ``journal`` records all measurements, so that a search can
be resumed.  Wider integers are not tried: onnxruntime has no 16-bit integer kernels, so an int16
layer is as slow as a float one and less accurate.  May import the pipeline and everything below.
"""
