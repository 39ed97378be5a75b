"""What a page shows, as plain values: everything a chart draws is here, and in the page's JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from oq.comparison.compare import Verification
from oq.planning.check import Finding
from oq.ranking.rank import Ranking
from oq.refine.outcome import Outcome

Runs = Literal["int8", "moved", "float"]
"""How a layer runs: in integers, by moving values without a kernel of its own, or in float."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The range ``lo..hi`` that a calibrator would choose, in the tensor's unit.

    ``clipped``: percent of the values outside.  ``sqnr_db``: 10 log10 of the values' mean square
    over that of the error on the tensor's own kind of grid (None: a grid of floats).
    """

    calibrator: str
    lo: float
    hi: float
    clipped: float
    sqnr_db: float | None


@dataclass(frozen=True, slots=True)
class Activation:
    """A measured tensor and its grid; all real values in the tensor's own unit.

    ``bins``: counts of values in equal bins from ``start`` to ``end``.  ``lo``, ``hi``: exact
    extremes of ``count`` values.  ``grid_lo``, ``grid_hi``: what the first and the last code stand
    for.  ``calibrator``: the one that chose the grid, "" when that is not known.
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
    """A weight by output channel; real values in its own unit.

    ``lo``, ``hi``: extremes, axes (channel,).  ``grid_lo``, ``grid_hi``: what the first and the
    last code stand for, axes (channel,), or one entry for a per-tensor grid.
    """

    tensor: str
    dtype: str
    lo: tuple[float, ...]
    hi: tuple[float, ...]
    grid_lo: tuple[float, ...]
    grid_hi: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """Nodes that run together.  ``name``: its node with weights, else the first.

    ``reason``: why it is in float.  ``activations``, ``weights``: names of what it reads in codes
    and has a picture of.
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
    outputs.  ``grid``: its codes ("uint8, scale 0.012"), "" where it stays in float."""

    tensor: str
    source: int
    reader: int
    grid: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was looked at: ``layers`` in graph order, the ``edges`` between them, and the pictures.

    ``order``: the tensors of the float model in graph order.
    """

    layers: tuple[Layer, ...] = ()
    edges: tuple[Edge, ...] = ()
    activations: tuple[Activation, ...] = ()
    weights: tuple[Weight, ...] = ()
    order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """Everything on one page.  ``facts``: label -> text; ``seconds``: stage -> wall time;
    ``left``: (op, reason, nodes) of what stays in float; ``next_steps``: what to do now."""

    version: str
    title: str
    target: str
    model: str
    output: str
    facts: Mapping[str, str]
    weighted: tuple[int, int]
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
