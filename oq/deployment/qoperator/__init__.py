"""``--to qoperator``: an ONNX file of integer operators in place of Q/DQ.

``convert.py`` puts the steps in order: ``moves.py`` lets moves work on codes, ``kernels.py`` looks
every op up in the table of :mod:`oq.model.qoperators` and joins DequantizeLinear, operator and
QuantizeLinear into one, ``products.py`` does so for matrix products with a float result, and
``clamps.py`` for ReLU and Clip by themselves.  ``operands.py`` reads what stands before and behind
an operator.  ``prove.py`` compares the file with the Q/DQ file, both run by onnxruntime,
``write.py`` is the format, and ``form.py`` that of ``oq quantize --format``.  What has no integer
form stays float, with its Q/DQ.  May import ``emission`` and what ``deployment`` may.
"""
