"""The values of a plan: sites, the five kinds of grid, kernels, and what stays in float.

A **site** is a quantized tensor, for some or all of its readers; its **grid** is its scale and zero
point.  A **plan** is all sites, and everything left in float with the reason.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from oq.numerics.values import QType
from oq.wording import Told, counted

Role = Literal["activation", "weight", "bias"]


@dataclass(frozen=True, slots=True)
class Own:
    """A grid of its own; ``axis`` None is per-tensor, else per slice along that axis.

    ``calibrator`` None means the run's default.  ``over`` names the tensors whose values the range
    must cover, if they differ from the tensor itself: the outputs of Concats whose inputs share one
    grid. ``block`` is for constants: so many neighbours along ``axis`` share a scale, and every
    slice along the other axes has its own scales.  ``carried``: the zero point is folded into
    biases, and the file has a symmetric grid (:mod:`oq.planning.zero_points`).  ``whole``: the
    range covers everything seen, even if the default calibrator clips (:mod:`oq.planning.outputs`).
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
    """The grid of tensor ``source`` with its scale times ``factor`` > 0 and the same zero point:
    the result of a multiplication by a constant.  The integer values do not change, so nothing is
    rounded."""

    source: str
    factor: float


@dataclass(frozen=True, slots=True)
class Fixed:
    """Scale and zero point known without data (Softmax: scale 1/256, zero point 0)."""

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
"""A closed union: ``match`` over it ends in ``assert_never``, so that a new kind is a type error
wherever it is not handled."""


@dataclass(frozen=True, slots=True)
class Site:
    """One quantized copy of ``tensor``.

    ``consumers`` are the nodes that read the copy; empty means all readers, graph outputs included.
    ``rule`` is the rule that requested it, for ``oq plan --why``.
    """

    tensor: str
    spec: QuantSpec
    role: Role
    rule: str
    consumers: tuple[str, ...] = ()


SiteKey = tuple[str, tuple[str, ...]]
"""The key of a site: its tensor and its consumers."""


def key(site: Site) -> SiteKey:
    """The key of ``site`` in a table of grids."""
    return (site.tensor, site.consumers)


def measured_at(site: Site) -> tuple[str, ...]:
    """The tensors whose values determine the range of ``site``; none if it has no grid of its
    own."""
    if not isinstance(site.spec, Own):
        return ()
    return site.spec.over or (site.tensor,)


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that the target runs as one quantized kernel, and the rule they match."""

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
    """A rule that was tried at a node but does not apply, with the reason."""

    node: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class Plan(Told):
    """The Q/DQ placement, before calibration."""

    WORDS: ClassVar[str] = "oq.planning.explain:plan_lines"

    target: str
    sites: tuple[Site, ...]
    groups: tuple[Group, ...]
    skips: tuple[Skip, ...]
    refusals: tuple[Refusal, ...] = ()
    made: tuple[str, ...] = ()
    """Nodes with weights that are not the model's own: oq made them of other nodes."""

    def short(self) -> str:
        """Sites, and nodes in float."""
        sites, skips = counted(len(self.sites), "Q/DQ site"), counted(len(self.skips), "node")
        return f"{self.target}: {sites}, {skips} in float"
