"""What a target is: a table of rules, and how rules are matched to a graph.

A rule names a chain of ops that the target runs as one kernel, e.g. ``("Conv", "Add", "Relu")``,
and which tensors of the kernel are quantized.  The longest chain wins, then the first rule whose
predicates all return None.  Every refusal is kept with its reason, which becomes the reason why a
node stays in float.
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
"""One element of a chain: an op, or any one of several."""


class Output(Enum):
    """How the output of a kernel is quantized."""

    FLOAT = "float"
    """Not by the kernel: its readers decide."""
    OWN = "own"
    """With its own grid: the kernel runs in integers only if a QuantizeLinear follows."""
    WANTED = "wanted"
    """With its own grid if a reader needs it quantized; else the kernel writes float at no cost."""
    SAME = "same"
    """With the grid of its input: the op only moves values, and Q/DQ pairs move across it."""
    ALIGNED = "aligned"
    """With the grid of its input, for a kernel that needs a quantized input (pooling).  If the
    target is not exclusive, only the readers that need it get the quantized copy."""
    PASSED = "passed"
    """Not at all: the Q/DQ that all its readers need goes before it (Pad, which fuses into the next
    layer if no pair lies between them)."""
    SCALED = "scaled"
    """With the grid of its input times the positive constant that the kernel multiplies by; with
    its own grid if there is no such constant, or if the product is not a valid scale of the
    target."""
    UNITED = "united"
    """With one grid for its output and all its inputs (Concat), or only those inputs that are
    quantized anyway if the rule requests none (``inputs=False``)."""


@dataclass(frozen=True, slots=True)
class OpRule:
    """A rule of a target.

    ``inputs``: whether the data inputs are quantized.  ``output``: see :class:`Output`, or a fixed
    grid. ``bias``: "int32" for a DequantizeLinear with scale(data) * scale(weight), "own" for a
    scale of its own, as a weight has.  ``constants``: whether constant data operands are quantized
    too; ``columns``: with a scale per slice of their last axis. ``per_channel``: False if the
    weight is quantized per tensor, whatever the target says. ``skip_follows``: an operand that
    joins after the first node (the skip connection of a residual Add) is quantized only if an
    integer kernel computes it, or if a quantized layer reads it too. ``unless``: predicates; each
    returns None or the reason not to quantize the match.  ``slower``: the same, for matches that
    the target could run in int8 but that would be slower; ``--mode naive`` ignores them.
    """

    ops: tuple[Element, ...]
    output: Output | Fixed = Output.FLOAT
    inputs: bool = True
    bias: Literal["float", "int32", "own"] = "float"
    constants: bool = False
    columns: bool = False
    per_channel: bool = True
    skip_follows: bool = False
    unless: tuple["Predicate", ...] = ()
    slower: tuple["Predicate", ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """A rule's chain found in a graph: one node per element, and the members of composite ops
    too."""

    rule: OpRule
    links: tuple[NodeView, ...]
    members: tuple[NodeView, ...]

    @property
    def name(self) -> str:
        """``Conv+Add+Relu``: the name of the match in reports, with the actual ops."""
        return "+".join(n.op for n in self.links)

    @property
    def anchor(self) -> NodeView:
        """The first node."""
        return self.links[0]

    @property
    def output(self) -> str:
        """The output tensor of the chain."""
        return self.links[-1].outputs[0]


Predicate = Callable[[GraphView, Match], str | None]
"""Returns None, or the reason not to quantize the match, naming the tensor or node."""

Grids = Mapping[SiteKey, Grid]
"""The solved grid of every site."""


@dataclass(frozen=True, slots=True)
class Legalized:
    """Grids that satisfy a target's constraints, and notes on what had to change."""

    grids: Grids
    notes: tuple[str, ...] = ()


Legalizer = Callable[[Plan, GraphView, Grids], Legalized]
"""A pure step on the solved grids.  It runs before any weight is quantized, so the scale of a
weight may change too."""


@dataclass(frozen=True, slots=True)
class Place:
    """A match in a Q/DQ graph: the DequantizeLinear nodes of its data inputs and the QuantizeLinear
    nodes of its output, both across ops that the runtime moves them over."""

    view: GraphView
    match: Match
    sources: tuple[NodeView, ...]
    sinks: tuple[NodeView, ...]


Obstacle = Callable[[Place], str | None]
"""Returns None, or the reason why the match runs in float although its inputs and output are
quantized."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """How the runtime of a target treats Q/DQ graphs from any tool, for :mod:`oq.checks.forecast`.

    ``codes``: integer types its kernels read; ``blocks``: those of weights in blocks, which it
    reads beside float data; ``packed``: as MatMulNBits too; ``at_run_time``: its
    integer kernels may quantize their data when they run.  ``rules``: additional chains that it
    runs in integers and that this target does not quantize.  ``moves``: ops across which it moves a
    Q or DQ by itself (None: those of all rules with SAME).  ``rounds``: ops whose float weights it
    quantizes by itself.
    """

    codes: tuple[str, ...] = ("int8", "uint8")
    blocks: tuple[str, ...] = ()
    packed: bool = False
    at_run_time: bool = False
    rules: tuple[OpRule, ...] = ()
    moves: tuple[str, ...] | None = None
    rounds: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment target.

    ``exclusive``: a quantized tensor is read only through its Q/DQ pair (onnxruntime fuses a kernel
    only if the QuantizeLinear is the sole reader of its output); else only the readers that run in
    integers read the pair and the others the float tensor (TensorRT). ``float_outputs``: graph
    outputs are not quantized. ``positive``: the type of tensors that are never negative, if it
    differs. ``dtypes``: the activation types that the user may choose, the default first.
    ``calibrator``, ``weight_range``: the defaults. ``legalize``: steps on the solved grids, in
    order. ``refine``: the default steps of :mod:`oq.refine`. ``adds_bias``: ops without a bias
    input whose kernel fuses a following Add of a constant, so that refinement may add one at no
    cost. ``carries_zero_points``: its grids are symmetric and its biases are float32, so that zero
    points can be folded into biases (:mod:`oq.planning.zero_points`). ``options``: ``--set
    key=value`` -> a function from the target to a variant of it; the first value of a key is the
    default and changes nothing. ``reasons``: op -> why it stays in float, if there is more to say
    than that no rule exists. ``block``: the number of inputs of a layer that share a weight scale
    (None: all of them). ``packs_blocks``: weights in blocks are written as MatMulNBits, with this
    accuracy level (None: as a DequantizeLinear). ``at_run_time``: layers with quantized weights
    quantize their data when they run. ``high_precision``: the type of everything that is
    not quantized. ``for_float16``: the variant for a float16 model, whose float rest stays float16
    (None: it becomes float32). ``domains``: those besides ONNX's whose operators its runtime has.
    ``checks``: the checks for files of this target: names of rows of
    :mod:`oq.checks.legal`, and its own. ``verified_in``: the engine (:mod:`oq.engines.engine`) that
    computes as the target does. ``runs_in_engine``: that engine runs its files, or simulates what
    does; else they count as their Q/DQ define them, and kernels and latency in the engine say
    nothing of the target. ``passes``: names of the prepare passes
    (:mod:`oq.prepare.order`) that only some targets use. ``guarded``: its runtime quantizes float
    layers between Q/DQ pairs by itself, which :mod:`oq.emission.keep_float` prevents.  ``bodies``:
    it runs Q/DQ in the bodies of If, Loop and Scan in integers.
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
    bodies: bool = False
    next_step: str = ""
    block: int | None = None
    packs_blocks: int | None = None
    at_run_time: bool = False
    high_precision: Literal["float32", "float16"] = "float32"
    for_float16: Callable[["Target"], "Target"] | None = None
    domains: tuple[str, ...] = ()
    runtime: Runtime = Runtime()
    verified_in: str = "onnxruntime"
    runs_in_engine: bool = False


def as_is(target: Target) -> Target:
    """The identity, for the default value of an option."""
    return target


def with_options(target: Target, chosen: Mapping[str, str]) -> Target:
    """``target`` with the options of ``--set key=value``, in the order of the target's table.

    Raises:
        OptionError: a key has no such value.
    """
    options = target.options if target.options is not None else {}
    for key in sorted(chosen, key=list(options).index):
        value = chosen[key]
        if value not in options[key]:
            raise OptionError(
                f"--set {key}={value}: target {target.name} takes {', '.join(options[key])}"
            )
        target = options[key][value](target)
    return target


@dataclass(frozen=True, slots=True)
class BrokenChain:
    """A chain whose ops follow each other but cannot be fused, with the reason."""

    name: str
    anchor: NodeView
    stopped: tuple[NodeView, ...]
    reason: str


def find(view: GraphView, rules: Iterable[OpRule]) -> Iterable[Match | BrokenChain]:
    """Every match of a rule's chain in ``view``, longest chains first.

    Rules of equal length keep the order of the table, matches the order of the graph.
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
