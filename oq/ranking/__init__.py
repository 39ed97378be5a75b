"""Ranks layers by the accuracy they cost (``oq sensitivity``): each quantized alone, and all but
each.

Scales are computed once; variants of the plan are emitted and run in spawned processes, one thread
each, so that the result does not depend on the number of processes.  *All but one* is the plan of
``--keep-float`` for that layer, with the same scales.  May import ``refine`` and everything below.
"""
