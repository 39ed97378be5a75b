"""The data of a report page as plain values, which are also the page's embedded JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from oq.comparison.compare import Verification
from oq.planning.check import Finding
from oq.ranking.rank import Ranking
from oq.refine.outcome import Outcome

Runs = Literal["int8", "moved", "float"]
"""How a layer runs: in integers, as data movement without a kernel, or in float."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The range ``lo..hi`` that a calibrator would choose, as real values.

    ``clipped``: percent of the values outside.  ``sqnr_db``: 10 log10 of the mean square of the
    values over that of the quantization error, for the tensor's data type (None for float8).
    """

    calibrator: str
    lo: float
    hi: float
    clipped: float
    sqnr_db: float | None


@dataclass(frozen=True, slots=True)
class Activation:
    """A measured tensor with its scale and zero point.

    ``bins``: counts of values in equal bins from ``start`` to ``end``.  ``lo``, ``hi``: exact
    extremes of ``count`` values.  ``grid_lo``, ``grid_hi``: the range that scale and zero point
    cover.  ``calibrator``: the one that chose the range, "" if unknown.
    """

    tensor: str
    node: str
    dtype: str
    scale: float
    zero_point: int
    grid_lo: float
    grid_hi: float
    calibrator: str
    count: int
    lo: float
    hi: float
    start: float
    end: float
    bins: tuple[float, ...]
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight by output channel, as real values.

    ``lo``, ``hi``: extremes, axes (channel,).  ``grid_lo``, ``grid_hi``: the range that scale and
    zero point cover, axes (channel,), or one entry if the weight is quantized per tensor.
    """

    tensor: str
    dtype: str
    lo: tuple[float, ...]
    hi: tuple[float, ...]
    grid_lo: tuple[float, ...]
    grid_hi: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """Nodes that run as one kernel.  ``name``: its node with weights, else the first.

    ``reason``: why it is in float.  ``activations``, ``weights``: names of its quantized inputs
    that have a chart.
    """

    name: str
    nodes: tuple[str, ...]
    ops: tuple[str, ...]
    runs: Runs
    reason: str = ""
    activations: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """``tensor`` from layer number ``source`` to ``reader``; -1 stands for the model's inputs and
    outputs.  ``grid``: type and scale ("uint8, scale 0.012"), "" if it is float."""

    tensor: str
    source: int
    reader: int
    grid: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The network and its measurements: ``layers`` in graph order, the ``edges`` between them, and
    the data of the charts.  ``order``: the tensors of the float model in graph order.
    """

    layers: tuple[Layer, ...] = ()
    edges: tuple[Edge, ...] = ()
    activations: tuple[Activation, ...] = ()
    weights: tuple[Weight, ...] = ()
    order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """Everything on one page.  ``facts``: label -> text; ``seconds``: stage -> wall time;
    ``weighted``: (quantized, all) layers with weights of the model, beside ``made`` by oq;
    ``left``: (op, reason, nodes) of float layers; ``next_steps``: what to do next; ``machine``: the
    day, the machine, the versions; ``schema`` and ``summary``: :mod:`oq.reporting.summary`."""

    schema: int
    summary: Mapping[str, Any]
    version: str
    title: str
    target: str
    model: str
    output: str
    facts: Mapping[str, str]
    weighted: tuple[int, int]
    made: int
    bytes_before: int
    bytes_after: int
    left: tuple[tuple[str, str, tuple[str, ...]], ...]
    evidence: Evidence
    verification: Verification | None = None
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    refinement: tuple[Outcome, ...] = ()
    ranking: Ranking | None = None
    next_steps: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
