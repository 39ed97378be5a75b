"""A Q/DQ file as a file of torch: TorchScript and ``torch.export`` archives of plain aten ops.

``torchscript.py`` and ``pt2.py`` are the doors that ``oq deploy`` finds, and do not import torch;
what stands behind them does, at the top.  The graph is run once by the rows of
:mod:`oq.training.ops`, with rows of its own for Q/DQ (``rows.py``), while torch writes down what it
computes.  Stands above ``deployment`` because the rows stand there.  May import ``training``,
``deployment`` and what these import.
"""
