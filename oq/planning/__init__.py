"""Where grids go, and why: a target's rows matched to a graph give a
:class:`~oq.planning.spec.Plan`.

Pure: no data, no session, no calibrator is run. ``target`` has the types a target is made of,
``predicates``, ``speed`` and ``tensorrt`` the refusals that targets share; ``setup`` prepares and
plans a model in one call.  May import ``prepare``, ``model`` and ``numerics``.
"""
