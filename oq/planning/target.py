"""What a target is: a table of rows, and how rows are matched to a graph.

A row names a chain of ops that the target runs as one kernel, e.g. ``("Conv", "Add", "Relu")``,
and where the kernel wants grids.  Longest chains win; the first row whose predicates all return
None wins; every refusal is kept with its sentence, and becomes the reason a node stays in float.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from oq.errors import OptionError
from oq.model.ops import COMPOSITES
from oq.model.view import GraphView, NodeView
from oq.numerics.grid import Grid
from oq.numerics.values import QType
from oq.planning.check import Check
from oq.planning.spec import Fixed, Plan, SiteKey

Element = str | tuple[str, ...]
"""One link of a chain: an op, or any one of several."""


class Output(Enum):
    """The grid of a kernel's output."""

    FLOAT = "float"
    """None: the kernel's readers decide."""
    OWN = "own"
    """Its own: the kernel runs in integers only when a QuantizeLinear follows."""
    WANTED = "wanted"
    """Its own when a reader wants one, else the kernel writes float at no cost."""
    SAME = "same"
    """That of its input: the op only moves values, and Q/DQ pairs move across it."""
    ALIGNED = "aligned"
    """That of its input, for a kernel that wants its input on a grid (pooling).  Where the target
    is not exclusive, only its readers that want one get it."""
    PASSED = "passed"
    """None: the Q/DQ that all its readers want stands in front of it (Pad, which merges into the
    layer behind it when no pair stands between them)."""
    SCALED = "scaled"
    """That of its input times the positive constant that the kernel multiplies by; its own where
    there is no such constant, or where the product is no scale of the target's kind."""
    UNITED = "united"
    """One grid for its output and all its inputs (Concat), those that have one where the row does
    not ask for any (``inputs=False``)."""


@dataclass(frozen=True, slots=True)
class OpRule:
    """One row of a target.

    ``inputs``: whether the data inputs are quantized.  ``output``: see :class:`Output`, or a grid
    known beforehand.  ``bias``: "int32" for a DequantizeLinear of scale(data) * scale(weight),
    "own" for a grid of its own, as a weight has.  ``constants``: whether constant data operands get
    a grid too.  ``per_channel``: False where the weight has one scale, whatever the target.
    ``skip_follows``: an operand that joins behind the first node (the skip branch of a residual
    Add) has a grid only where a kernel that reads integers computes it, or a quantized layer reads
    it too.  ``unless``: predicates; each returns None or the sentence that refuses the match.
    ``slower``: the same, for what the target could run but should not; ``--mode naive`` skips them.
    """

    ops: tuple[Element, ...]
    output: Output | Fixed = Output.FLOAT
    inputs: bool = True
    bias: Literal["float", "int32", "own"] = "float"
    constants: bool = False
    per_channel: bool = True
    skip_follows: bool = False
    unless: tuple["Predicate", ...] = ()
    slower: tuple["Predicate", ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """A row's chain found in a graph: one node per link, and the members of composites too."""

    rule: OpRule
    links: tuple[NodeView, ...]
    members: tuple[NodeView, ...]

    @property
    def name(self) -> str:
        """``Conv+Add+Relu``: how reports call the row, with the ops that are there."""
        return "+".join(n.op for n in self.links)

    @property
    def anchor(self) -> NodeView:
        """The first node."""
        return self.links[0]

    @property
    def output(self) -> str:
        """The tensor the chain ends in."""
        return self.links[-1].outputs[0]


Predicate = Callable[[GraphView, Match], str | None]
"""Returns None, or the reason the match is refused, naming the tensor or node."""

Grids = Mapping[SiteKey, Grid]
"""The solved grid of every site."""


@dataclass(frozen=True, slots=True)
class Legalized:
    """Grids that obey a target's constraints, and remarks on what had to move."""

    grids: Grids
    notes: tuple[str, ...] = ()


Legalizer = Callable[[Plan, GraphView, Grids], Legalized]
"""A pure step on the solved grids.  It runs before any weight is quantized, so a weight's grid
may move too: its codes are made from the float weight afterwards."""


@dataclass(frozen=True, slots=True)
class Place:
    """A match in a Q/DQ graph: the DequantizeLinear nodes its data come from and the
    QuantizeLinear nodes its output goes to, both across ops that the runtime moves them over."""

    view: GraphView
    match: Match
    sources: tuple[NodeView, ...]
    sinks: tuple[NodeView, ...]


Obstacle = Callable[[Place], str | None]
"""None, or the reason why the match runs in float although it is quantized on both sides."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs the files: how it treats a Q/DQ graph of any tool, for :mod:`oq.checks.forecast`.

    ``codes``: integer types its kernels read.  ``rules``: rows that it runs in integers and that
    this target does not ask for.  ``moves``: ops across which it moves a Q or DQ by itself (None:
    those of all rows with SAME).  ``rounds``: ops whose float weights it quantizes by itself.
    """

    codes: tuple[str, ...] = ("int8", "uint8")
    rules: tuple[OpRule, ...] = ()
    moves: tuple[str, ...] | None = None
    rounds: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment profile.

    ``exclusive``: a quantized tensor is read only through its Q/DQ pair (onnxruntime fuses a
    kernel only when the QuantizeLinear is the sole reader of its output); else each reader that
    wants integers gets the pair and the others keep the float tensor (TensorRT).
    ``float_outputs``: a graph output is the float tensor, never what a pair leaves of it.
    ``positive``: the grid of tensors that are never negative, where it differs.
    ``dtypes``: the grids an activation may be given by the user, the target's own first.
    ``calibrator``, ``weight_range``: what serves it best when the user names none.
    ``legalize``: steps on the solved grids, in order.
    ``refine``: the steps of :mod:`oq.refine` that serve it when the user names none.
    ``adds_bias``: ops without a slot for a bias whose kernel takes in an Add of a constant behind,
    so that refinement may put one there at no cost.
    ``carries_zero_points``: its grids are symmetric, and its biases, in float32, can carry the zero
    points that some tensors have then (:mod:`oq.planning.zero_points`).
    ``options``: ``--set key=value`` -> what it makes of the target; the first value of a key is
    the default and changes nothing.
    ``reasons``: why an op without a row stays in float, where there is more to say than that.
    ``block``: that many inputs of a layer share a scale of its weight (None: all of them).
    ``high_precision``: the type of all that is not quantized.
    ``checks``: what holds a file of this target: names of rows of :mod:`oq.checks.legal`, and rows
    of its own.
    ``verified_in``: the engine (:mod:`oq.engines.engine`) that computes as the target does.
    ``passes``: names of the prepare passes (:mod:`oq.prepare.order`) that only some targets want.
    ``guarded``: its runtime rewrites float layers that lie between Q/DQ pairs, which
    :mod:`oq.emission.keep_float` prevents.
    """

    name: str
    summary: str
    activations: QType
    weights: QType
    min_opset: int
    rules: tuple[OpRule, ...]
    checks: tuple[str | Check, ...]
    exclusive: bool = False
    float_outputs: bool = False
    positive: QType | None = None
    dtypes: tuple[QType, ...] = ()
    calibrator: str = "minmax"
    weight_range: str = "max"
    legalize: tuple[Legalizer, ...] = ()
    carries_zero_points: bool = False
    refine: tuple[str, ...] = ("smooth", "bias", "equalize", "ranges", "round")
    adds_bias: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Callable[["Target"], "Target"]]] | None = None
    reasons: Mapping[str, str] | None = None
    per_channel: bool = True
    passes: tuple[str, ...] = ()
    guarded: bool = False
    next_step: str = ""
    block: int | None = None
    high_precision: Literal["float32", "float16"] = "float32"
    runtime: Runtime = Runtime()
    verified_in: str = "onnxruntime"


def as_is(target: Target) -> Target:
    """The first value of every option."""
    return target


def with_options(target: Target, chosen: Mapping[str, str]) -> Target:
    """``target`` as ``--set key=value`` wants it.

    Raises:
        OptionError: a key has no such value.
    """
    options = target.options if target.options is not None else {}
    for key, value in chosen.items():
        if value not in options[key]:
            raise OptionError(
                f"--set {key}={value}: target {target.name} takes {', '.join(options[key])}"
            )
        target = options[key][value](target)
    return target


@dataclass(frozen=True, slots=True)
class BrokenChain:
    """A chain whose ops follow each other, but that cannot be one kernel, and why."""

    name: str
    anchor: NodeView
    stopped: tuple[NodeView, ...]
    reason: str


def find(view: GraphView, rules: Iterable[OpRule]) -> Iterable[Match | BrokenChain]:
    """Every place where a row's chain stands in ``view``, longest rows first.

    Rows of equal length keep the order of the table, places the order of the graph.
    """
    for rule in sorted(rules, key=lambda r: -len(r.ops)):
        for node in view.nodes:
            if node.domain in {"", "ai.onnx"} and _is(node, rule.ops[0]):
                found = _follow(view, rule, node)
                if found is not None:
                    yield found


def _follow(view: GraphView, rule: OpRule, anchor: NodeView) -> Match | BrokenChain | None:
    links, members = [anchor], [anchor]
    for element in rule.ops[1:]:
        tensor = links[-1].outputs[0]
        readers = view.consumers(tensor)
        step = _composite(view, element, tensor) or [n for n in readers if _is(n, element)][:1]
        if not step:
            return None
        inside = sum(n.reads(tensor) for n in step)
        if view.edges(tensor) != inside:
            # all who would have fitted, and ops for names: neither depends on the nodes' order
            fitting = tuple(n for n in readers if _is(n, element)) or (step[-1],)
            ops = ", ".join(sorted(n.op for n in readers))
            whom = "also a graph output" if len(readers) == len(step) else f"read by {ops}"
            last = min(n.op for n in fitting)
            name = "+".join([*(n.op for n in links), last])
            reason = f"{tensor!r} is {whom}, so {last} cannot be fused"
            return BrokenChain(name, anchor, fitting, reason)
        links.append(step[-1])
        members.extend(step)
    return Match(rule, tuple(links), tuple(members))


def _is(node: NodeView, element: Element) -> bool:
    return node.op == element if isinstance(element, str) else node.op in element


def _composite(view: GraphView, element: Element, tensor: str) -> list[NodeView]:
    """The two nodes of an activation written as ``Mul(x, first(x))``, or nothing."""
    names = (element,) if isinstance(element, str) else element
    for name in names:
        first, last = COMPOSITES.get(name, ("", ""))
        for head in view.consumers(tensor):
            if head.op != first or view.edges(head.outputs[0]) != 1:
                continue
            tails = view.consumers(head.outputs[0])
            if tails and tails[0].op == last and tensor in tails[0].inputs:
                return [head, tails[0]]
    return []
