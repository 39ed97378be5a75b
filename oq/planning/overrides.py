"""User overrides for single layers: which stay in float, and which get other settings.

A glob is matched against the name of a tensor and the names and op types of the kernel that
computes it; for a weight, against its name and the names and op types of the layers that read it.
"""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from oq.errors import OptionError
from oq.model.view import GraphView
from oq.planning.spec import Group, Own, Plan, Scaled, Site, measured_at
from oq.planning.target import Target

Choice = tuple[str, str]
"""(glob, calibrator name)."""

Mode = Literal["naive", "hybrid", "selective"]
"""``naive``: everything the target can run in int8.  ``hybrid``: the same without layers that would
be slower.  ``selective``: only the layers that are listed."""

MODES: tuple[Mode, ...] = ("naive", "hybrid", "selective")


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings for the layers that ``glob`` matches; None keeps the target's choice.

    ``dtype``: of the activations they write ("float" keeps them in float).  ``symmetric``: zero
    point 0.  ``weights``: dtype of their weights.  ``per_channel``: per-channel or per-tensor
    weights. ``calibrator``: of the activations.
    """

    glob: str
    dtype: str | None = None
    symmetric: bool | None = None
    weights: str | None = None
    per_channel: bool | None = None
    calibrator: str | None = None

    @property
    def keeps_float(self) -> bool:
        """Whether the layer stays in float."""
        return self.dtype == "float"


@dataclass(frozen=True, slots=True)
class Overrides:
    """All overrides of a run.  ``calibrators`` is short for layers that set only a calibrator;
    ``calibrator`` is the one for all other tensors, if the user chose one.  ``apart``: nodes that
    stay in float because of what was measured, and the reason; not of the user.  ``states``: what a
    body is given and what that becomes in the next turn; None: not a body."""

    keep_float: tuple[str, ...] = ()
    calibrators: tuple[Choice, ...] = ()
    layers: tuple[Layer, ...] = ()
    mode: Mode = "hybrid"
    calibrator: str | None = None
    apart: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, str] | None = None

    @property
    def kept(self) -> tuple[str, ...]:
        """The globs of nodes that stay in float."""
        return (*self.keep_float, *(w.glob for w in self.layers if w.keeps_float))

    @property
    def only(self) -> tuple[str, ...] | None:
        """The globs of the only nodes to quantize, or None for all."""
        if self.mode != "selective":
            return None
        return tuple(w.glob for w in self.layers if not w.keeps_float)

    @property
    def all_layers(self) -> tuple[Layer, ...]:
        """Layers to apply to a plan, with ``calibrators`` spelled out."""
        short = (Layer(glob, calibrator=name) for glob, name in self.calibrators)
        return (*short, *(w for w in self.layers if not w.keeps_float))


def make_overrides(
    keep_float: Iterable[str] = (),
    calibrator_for: Iterable[Choice] = (),
    layers: Iterable[Layer] = (),
    mode: Mode = "hybrid",
    calibrator: str | None = None,
) -> Overrides:
    """:class:`Overrides` from the keywords of :func:`oq.quantize`."""
    return Overrides(tuple(keep_float), tuple(calibrator_for), tuple(layers), mode, calibrator)


def parse_layer(text: str) -> Layer:
    """``GLOB:key=value[,key=value]`` as a :class:`Layer`.

    Raises:
        OptionError: it is not of that form, or has no such key or value.
    """
    glob, _, rest = text.rpartition(":")
    pairs = dict(part.partition("=")[::2] for part in rest.split(",")) if glob else {}
    if not pairs:
        raise OptionError(f"--layer {text!r}: expected GLOB:key=value[,key=value]")
    return make_layer(glob, pairs)


def make_layer(glob: str, overrides: Mapping[str, object]) -> Layer:
    """A :class:`Layer` from its keys; "true" and "false" are taken as words too.

    Raises:
        OptionError: no such key, or a switch that is neither true nor false.
    """
    known = ("dtype", "symmetric", "weights", "per_channel", "calibrator")
    switches = {"true": True, "false": False}
    made = Layer(glob)
    for name, value in overrides.items():
        if name not in known:
            raise OptionError(f"layer {glob!r}: no key {name!r}; expected {', '.join(known)}")
        if name in {"symmetric", "per_channel"}:
            if str(value).lower() not in switches:
                raise OptionError(f"layer {glob!r}: {name} is {value!r}; expected true or false")
            value = switches[str(value).lower()]
        made = replace(made, **{name: value})  # type: ignore[arg-type]
    return made


def apply_layers(
    plan: Plan, view: GraphView, target: Target, layers: Sequence[Layer], *, inside: bool = False
) -> Plan:
    """``plan`` with the overrides of ``layers``; the first that matches wins.  ``inside``: it is
    that of a body, and what matches nothing here is for another graph.

    Raises:
        OptionError: a glob matches nothing that could heed it, or the target has no such grid.
    """
    used: set[str] = set()
    kernels = {g.nodes[-1]: g for g in plan.groups}
    sites = tuple(
        _apply(s, _names(s, view, kernels), view.is_constant(s.tensor), target, layers, used)
        for s in plan.sites
    )
    within = () if inside else tuple(name for n in view.nodes for name in n.inner)
    for layer in layers:
        unused = layer.glob not in used and not inside
        if unused and not any(fnmatch.fnmatchcase(name, layer.glob) for name in within):
            raise OptionError(
                f"--layer {layer.glob!r} matches no quantized tensor, layer or op "
                "(oq plan lists them)"
            )
    return replace(plan, sites=sites)


def _apply(
    site: Site,
    names: tuple[str, ...],
    constant: bool,
    target: Target,
    layers: Sequence[Layer],
    used: set[str],
) -> Site:
    """``site`` with the settings of ``layers``; an overridden derived grid becomes an own one."""
    if not isinstance(site.spec, Own | Scaled) or site.role == "bias":
        return site
    spec, own = site.spec, site.spec if isinstance(site.spec, Own) else Own(target.activations)
    for layer in reversed(layers):  # the first is applied last and wins
        heard = (layer.weights, layer.per_channel) if constant else _of_activations(layer)
        if any(fnmatch.fnmatchcase(n, layer.glob) for n in names) and set(heard) != {None}:
            used.add(layer.glob)
            own = _weight(own, target, layer) if constant else _activation(own, target, layer)
            spec = own
    return replace(site, spec=spec)


def _of_activations(layer: Layer) -> tuple[object, ...]:
    return (layer.dtype, layer.symmetric, layer.calibrator)


def _activation(spec: Own, target: Target, layer: Layer) -> Own:
    if layer.calibrator is not None:
        spec = replace(spec, calibrator=layer.calibrator, whole=False)
    if layer.dtype is None and layer.symmetric is None:
        return spec
    dtype = spec.qtype.dtype if layer.dtype is None else layer.dtype
    allowed = (*target.dtypes, target.activations)
    fits = [q for q in allowed if q.dtype == dtype and layer.symmetric in {None, q.symmetric}]
    if not fits:
        wanted = {None: "", True: " symmetric", False: " affine"}[layer.symmetric]
        raise OptionError(
            f"layer {layer.glob!r}: target {target.name} has no {dtype}{wanted} activations; "
            f"expected {', '.join(dict.fromkeys(map(str, allowed)))}, or float"
        )
    return replace(spec, qtype=fits[0], carried=False)


def _weight(spec: Own, target: Target, layer: Layer) -> Own:
    if layer.weights not in {None, target.weights.dtype}:
        raise OptionError(
            f"layer {layer.glob!r}: target {target.name} has no {layer.weights} weights beside "
            f"{target.weights.dtype}"
        )
    if layer.per_channel and not target.per_channel:
        raise OptionError(f"layer {layer.glob!r}: target {target.name} has one scale per weight")
    return replace(spec, axis=None) if layer.per_channel is False else spec


def least_opset(target: Target, layers: Iterable[Layer]) -> int:
    """The lowest opset that supports the dtypes of ``layers`` (ONNX operator QuantizeLinear)."""
    return max([target.min_opset, *(OPSETS.get(str(w.dtype), 0) for w in layers)])


OPSETS = {"float8_e4m3fn": 19, "int16": 21, "uint16": 21}
"""dtype -> the first opset whose QuantizeLinear supports it; other types are supported by all
opsets in use."""


def _names(site: Site, view: GraphView, kernels: Mapping[str, Group]) -> tuple[str, ...]:
    if view.is_constant(site.tensor):
        readers = [n for n in view.consumers(site.tensor) if n.name in site.consumers]
        return (site.tensor, *(n.name for n in readers), *(n.op for n in readers))
    producer = view.producer(site.tensor)
    tensors = dict.fromkeys((site.tensor, *measured_at(site)))
    if producer is None:
        return tuple(tensors)
    kernel = kernels.get(producer.name, Group((producer.name,), (producer.op,), ""))
    return (*tensors, *kernel.nodes, *kernel.ops)
