"""Q/DQ placement: the rules of a target matched to a graph give a :class:`~oq.planning.spec.Plan`.

Pure: no data, no session, no calibrator is run. ``target`` has the types that define a target,
``predicates``, ``speed`` and ``tensorrt`` the reasons not to quantize that targets share; ``setup``
prepares and plans a model in one call.  May import ``prepare``, ``model`` and ``numerics``.
"""
