"""Engines that run a quantized file: onnxruntime, OpenVINO's CPU plugin, the DPU simulator.

An engine is a file here and a row in ``engine.py``: how to load a model, and which of its nodes run
in integers.  It provides the deployed mode, the kernels and the latency; the float reference and
the literal mode are always onnxruntime's, so that an engine that does not compute what the Q/DQ
nodes define is detected.  ``openvino_ir.py`` is the reader of OpenVINO's own files, which need the
engine to run.  May import ``artifacts``, ``dpu``, ``model`` and ``numerics``.
"""
