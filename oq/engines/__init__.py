"""What runs a file so that it can be compared: onnxruntime, OpenVINO's CPU plugin, the DPU
simulator.

An engine is a file here and a row in ``engine.py``: how to load a model, and which of its nodes run
in integers.  It gives the deployed reading, the kernels and the latency; the float reference and
the literal reading stay onnxruntime's, so an engine that computes something else than the Q/DQ say
is caught.  May import ``dpu``, ``model`` and ``numerics``.
"""
