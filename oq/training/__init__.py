"""An ONNX graph as a torch module, trained in the grids of its target, and back into the same file.

`convert.py` is the door and does not import torch; what stands behind it does, at the top.  One
table of rows (`ops.py`, joined from the `ops_*.py` beside it) says what an operator computes in
torch, `module.py` runs them in the order of the graph.  May import everything below the pipeline,
and the pipeline.
"""
