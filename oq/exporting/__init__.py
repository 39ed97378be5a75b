"""From a torch module to a model, and :func:`~oq.exporting.load.load`, which takes either.

With ``refine/adaround.py`` the only part that needs torch.  May import ``model`` and ``numerics``.
"""
