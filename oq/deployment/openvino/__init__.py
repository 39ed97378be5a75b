"""The format ``openvino``: OpenVINO's IR, two files, written by OpenVINO itself.

OpenVINO reads Q/DQ of all styles, so a file of any target is taken.  ``format.py`` writes it, with
biases of 8 bits as floats; ``prove_stored.py`` compares what oq's own reader finds in it, grid by
grid and constant by constant; ``prove.py`` runs it by the CPU plugin beside the Q/DQ file in
onnxruntime's literal mode.  May import ``engines`` and what ``deployment`` may.
"""
