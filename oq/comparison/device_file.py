"""A device file as an engine: its reader evaluates it (:mod:`oq.artifacts`); not timed."""

from oq.artifacts.artifact import Artifact
from oq.engines.engine import Engine, Kernels


def artifact_engine(opened: Artifact) -> Engine:
    """The engine that runs ``opened``, and nothing else, under the name of its format."""
    name = f"{opened.format} file"
    integer, floating = opened.integer_layers()
    kernels = Kernels(integer, floating, opened.contents().ops, counted="layers")
    return Engine(name, lambda *_: opened, lambda *_: kernels, timed=False)
