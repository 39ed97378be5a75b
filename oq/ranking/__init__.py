"""Which layers cost accuracy (``oq sensitivity``): each quantized alone, and all but each.

Grids are solved once; variants of the plan are emitted and run in spawned processes, one thread
each, so that the result is the same for any number of them.  *All but one* is the plan that
``--keep-float`` for that layer gives, on the same grids.  May import ``refine`` and what stands
below.
"""
