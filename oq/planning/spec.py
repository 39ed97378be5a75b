"""The values of a plan: sites, the five kinds of grid, kernels, and what stays in float.

A **site** puts a grid on a tensor for some of its readers.  A **plan** is all sites and everything
left in float, each with the sentence that says why.
"""

from dataclasses import dataclass
from typing import Literal

from oq.numerics.values import QType

Role = Literal["activation", "weight", "bias"]


@dataclass(frozen=True, slots=True)
class Own:
    """A grid of the tensor's own; ``axis`` None is per-tensor, else per slice of that axis.

    ``calibrator`` None means the run's default.  ``over`` names the tensors whose values the grid
    must hold, when they are others than the tensor itself: the outputs of the Concats that put
    several tensors on one grid.  ``block`` is for constants: that many neighbours along ``axis``
    share a scale, and every slice of the other axes has scales of its own.  ``carried``: biases are
    to carry the zero point, and the file gets a symmetric grid (:mod:`oq.planning.zero_points`).
    ``whole``: it holds all that was seen where the run's own calibrator would clip
    (:mod:`oq.planning.outputs`).
    """

    qtype: QType
    axis: int | None = None
    calibrator: str | None = None
    over: tuple[str, ...] = ()
    block: int | None = None
    carried: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """The grid of tensor ``source`` (MaxPool, Reshape, the inputs of a Concat)."""

    source: str


@dataclass(frozen=True, slots=True)
class Scaled:
    """The grid of tensor ``source`` with its scale times ``factor`` > 0, the zero point unchanged:
    what a multiplication by a constant leaves of it.  The codes stay, so nothing is rounded."""

    source: str
    factor: float


@dataclass(frozen=True, slots=True)
class Fixed:
    """A grid known before any data is seen (Softmax: scale 1/256, zero point 0)."""

    qtype: QType
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Product:
    """``scale = scale(data) * scale(weight)``, zero point 0: the grid of an int32 bias."""

    qtype: QType
    data: str
    weight: str


QuantSpec = Own | Share | Scaled | Fixed | Product
"""Closed: ``match`` over it with ``assert_never`` makes a sixth kind a type error everywhere."""


@dataclass(frozen=True, slots=True)
class Site:
    """One quantized copy of ``tensor``.

    ``consumers`` are the nodes that read the copy; empty means every reader, graph outputs
    included.  ``rule`` is the row that asked for it, kept for ``oq plan --why``.
    """

    tensor: str
    spec: QuantSpec
    role: Role
    rule: str
    consumers: tuple[str, ...] = ()


SiteKey = tuple[str, tuple[str, ...]]
"""What identifies a site: its tensor and its consumers."""


def key(site: Site) -> SiteKey:
    """The identity of ``site`` in a table of solved grids."""
    return (site.tensor, site.consumers)


def measured_at(site: Site) -> tuple[str, ...]:
    """The tensors whose values decide the grid of ``site``: none where it has none of its own."""
    if not isinstance(site.spec, Own):
        return ()
    return site.spec.over or (site.tensor,)


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that the target runs as one quantized kernel, and the rule that says so."""

    nodes: tuple[str, ...]
    ops: tuple[str, ...]
    rule: str


@dataclass(frozen=True, slots=True)
class Skip:
    """A node left in float, and why."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that was tried at a node and declined, with its sentence."""

    node: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything decided, nothing measured."""

    target: str
    sites: tuple[Site, ...]
    groups: tuple[Group, ...]
    skips: tuple[Skip, ...]
    refusals: tuple[Refusal, ...] = ()
