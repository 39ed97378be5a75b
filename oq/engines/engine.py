"""What runs a quantized model for real: the little that `oq.comparison` asks of an engine.

An engine is a file in ``engines/`` that exports ``ENGINE``, and a row here.  Whatever the engine,
the float reference and the literal reading (:mod:`oq.model.session`) are computed by onnxruntime,
so the numbers of two engines can be compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import onnx

from oq.errors import OptionError
from oq.model.session import Settings
from oq.numerics.values import Array

ENGINES: Mapping[str, str] = {
    "dpu": "oq.engines.dpu",
    "onnxruntime": "oq.engines.onnxruntime",
    "openvino": "oq.engines.openvino",
}
DEFAULT = "onnxruntime"


class Loaded(Protocol):
    """A model ready to run, as :class:`oq.model.session.Session` is."""

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs (all of them when ``outputs`` is None) for one batch."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """What an engine runs, by whether it works on integers.

    ``counted``: which nodes are.  ``ops``: everything in the engine's own graph, by its names.
    ``left``: the counted ones in float, each with what runs it, where the engine tells.
    """

    integer: int
    floating: int
    ops: Mapping[str, int]
    counted: str = "compute nodes"
    left: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Integer kernels in percent of all that are counted (100 when there is none)."""
        total = self.integer + self.floating
        return 100.0 * self.integer / total if total else 100.0


def _no_steps(_loaded: Loaded) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class Engine:
    """One row.  ``load`` refuses a model it cannot run (`ModelError`) and a missing package
    (`MissingExtra`); ``count_kernels`` says what it computes in integers, of a model and its loaded
    form that has run.  ``timed``: whether its speed means anything.  ``steps``: output -> the real
    value of one code, where it ends in codes."""

    name: str
    load: Callable[[onnx.ModelProto, Settings], Loaded]
    count_kernels: Callable[[onnx.ModelProto, Loaded], Kernels]
    timed: bool = True
    steps: Callable[[Loaded], Mapping[str, float]] = _no_steps


def find_engine(name: str) -> Engine:
    """The engine called ``name``.

    Raises:
        OptionError: there is none.
    """
    if name not in ENGINES:
        raise OptionError(f"no engine {name!r}; there are: {', '.join(ENGINES)}")
    found: Engine = import_module(ENGINES[name]).ENGINE
    return found
