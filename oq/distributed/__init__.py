"""Work on a Ray cluster: the one folder that knows Ray.

``cluster`` opens a cluster and is the :class:`oq.parallel.Workers` that steps are handed, ``tasks``
is what runs on its nodes, ``blocks`` reads a ``ray.data.Dataset`` block by block.  What the work is
and how its results are joined is each step's own.  May import ``parallel``, ``errors``,
``numerics``.
"""
