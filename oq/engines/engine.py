"""The interface of engines, and the table of them.

An engine is a file in ``engines/`` that exports ``ENGINE``, and a row here.  For every engine, the
float reference and the literal mode (:mod:`oq.model.session`) are computed by onnxruntime, so that
results of two engines can be compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

import onnx

from oq.errors import OptionError
from oq.model.session import Settings
from oq.numerics.grid import Grid
from oq.numerics.values import Array

ENGINES: Mapping[str, str] = {
    "dpu": "oq.engines.dpu",
    "onnxruntime": "oq.engines.onnxruntime",
    "openvino": "oq.engines.openvino",
}
DEFAULT = "onnxruntime"

PACKAGES: Mapping[str, str] = {"openvino": "openvino"}
"""Engine -> the optional package that it runs in."""


def is_installed(name: str) -> bool:
    """Whether the engine called ``name`` can run here."""
    return name not in PACKAGES or find_spec(PACKAGES[name]) is not None


class Loaded(Protocol):
    """A loaded model, with the interface of :class:`oq.model.session.Session`."""

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs (all if ``outputs`` is None) for one batch."""


class Walk(Protocol):
    """A pass through a model, node by node, over some batches: what refinement learns from."""

    def output(self, node: str) -> str:
        """The first output of the node called ``node``."""

    def input(self, node: str, slot: int = 0) -> str:
        """Input ``slot`` of the node called ``node``."""

    def at(self, tensor: str) -> tuple[Array, ...]:
        """The values of ``tensor``, one array per batch."""

    def shift(self, tensor: str, by: Array) -> None:
        """Add ``by``, which broadcasts to it, to ``tensor`` for the nodes that have not run."""

    def peek(self, tensor: str, shifted: str, by: Array) -> tuple[Array, ...]:
        """The values that ``tensor`` would have if ``by`` was added to ``shifted``."""

    def set_constant(self, tensor: str, values: Array, grid: Grid | None = None) -> None:
        """Replace a constant, whose values lie on ``grid``, for the nodes that have not run."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """The integer and float kernels of an engine.

    ``counted``: the kind of nodes counted.  ``ops``: all ops in the engine's graph, by its names.
    ``left``: the counted nodes in float, each with the layer that runs it, if the engine reports
    it.
    """

    integer: int
    floating: int
    ops: Mapping[str, int]
    counted: str = "compute nodes"
    left: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Integer kernels in percent of all counted (100 if there are none)."""
        total = self.integer + self.floating
        return 100.0 * self.integer / total if total else 100.0


def _no_steps(_loaded: Loaded) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine.  ``load`` raises `ModelError` for a model it cannot run and `MissingExtra` for a
    missing package; ``count_kernels`` reports the integer kernels of a model, given its loaded form
    after a run.  ``timed``: whether its latency is meaningful.  ``steps``: output -> its scale, for
    quantized outputs.  ``walk``: of an engine that rounds otherwise than the Q/DQ nodes say, in
    every layer: (model, batches) -> a pass in that rounding.  Models for it are refined and judged
    in it."""

    name: str
    load: Callable[[onnx.ModelProto, Settings], Loaded]
    count_kernels: Callable[[onnx.ModelProto, Loaded], Kernels]
    timed: bool = True
    steps: Callable[[Loaded], Mapping[str, float]] = _no_steps
    walk: Callable[[onnx.ModelProto, Sequence[Mapping[str, Array]]], Walk] | None = None

    @property
    def rounds(self) -> bool:
        """Whether it has a rounding of its own."""
        return self.walk is not None


def find_engine(name: str) -> Engine:
    """The engine called ``name``.

    Raises:
        OptionError: there is none.
    """
    if name not in ENGINES:
        raise OptionError(f"no engine {name!r}; available: {', '.join(ENGINES)}")
    found: Engine = import_module(ENGINES[name]).ENGINE
    return found
