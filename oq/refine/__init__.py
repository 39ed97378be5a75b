"""Refinement: other constants and ranges that bring the quantized outputs nearer to the float
model.

A step is a pure function from a :class:`~oq.refine.subject.Subject` to a
:class:`~oq.refine.subject.Change`.  **Late** steps are given the grids (``bias``, ``gptq``,
``adaround``); they go through the layers in order, each fed by the layers as they are by then
(``layerwise``), and weights are refitted to what their input has become before they are rounded
(``gptaq``).  **Early** steps leave the float function as it is (``smooth``, ``rescale``,
``equalize``, ``absorb``) or only ask for other ranges; behind them tensors that may have moved are
measured again (``recalibrate``) and the late steps that were kept are done again, so that two
finished models are compared. ``order`` is the table, ``run`` tries and keeps, ``judge`` measures on
held-back samples.  May import everything up to ``emission``, ``comparison`` and ``engines``.
"""
