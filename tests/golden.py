"""What a plan says, in few words, and examples with the plans they must get."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from oq.planning.spec import Fixed, Own, Plan, Product, QuantSpec, Scaled, Share
from tests.graphs import Build


def spell(spec: QuantSpec) -> str:
    """``int8``, ``int8/0`` (per channel of axis 0), ``= x``, ``= x * 0.5``, ``x * w`` (a bias),
    ``uint8 0.5 0``."""
    match spec:
        case Own(qtype, axis, block=int(block)):
            return f"{qtype.dtype}/{axis} by {block}"
        case Own(qtype, None):
            return qtype.dtype
        case Own(qtype, axis):
            return f"{qtype.dtype}/{axis}"
        case Share(source):
            return f"= {source}"
        case Scaled(source, factor):
            return f"= {source} * {factor:g}"
        case Product(_, data, weight):
            return f"{data} * {weight}"
        case Fixed(qtype, scale, zero):
            return f"{qtype.dtype} {scale} {zero}"


def sites(found: Plan) -> dict[str, str]:
    """``"tensor > readers"`` -> its grid; ``*`` for every reader."""
    spelled = {
        f"{s.tensor} > {' '.join(s.consumers) or '*'}".replace("n_", ""): spell(s.spec)
        for s in found.sites
    }
    assert len(spelled) == len(found.sites), "two sites of one tensor for the same readers"
    return spelled


def activations(found: Plan) -> dict[str, str]:
    only = tuple(s for s in found.sites if s.role == "activation")
    return sites(replace(found, sites=only))


def kernels(found: Plan) -> set[str]:
    return {" ".join(g.nodes).replace("n_", "") for g in found.groups}


def floats(found: Plan) -> dict[str, str]:
    return {s.node.removeprefix("n_"): s.reason for s in found.skips}


@dataclass(frozen=True, slots=True)
class Golden:
    """What one target makes of a graph: activation sites, kernels, and what stays in float."""

    sites: Mapping[str, str]
    kernels: set[str]
    floats: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Example:
    build: Build
    ort: Golden
    trt: Golden


def parameters(target: str, *layers: tuple[str, str]) -> dict[str, str]:
    """Sites of convolutions with bias: (data, layer) pairs."""
    found = {f"w_{layer} > {layer}": "int8/0" for _, layer in layers}
    if target == "ort":
        found |= {f"b_{layer} > {layer}": f"{data} * w_{layer}" for data, layer in layers}
    return found


def golden(
    target: str,
    layers: list[tuple[str, str]],
    activations: dict[str, str],
    kernels: set[str],
    floats: dict[str, str] | None = None,
) -> Golden:
    return Golden(activations | parameters(target, *layers), kernels, floats or {})


SOFTMAX = "in int8 its output has steps of 1/256, so small probabilities become equal"


def joins(layer: str) -> str:
    """Why what a layer takes along stays in float with it."""
    return f"its layer {f'n_{layer}'!r} stays in float"


FLOAT_STILL = "slower in int8: its inputs are float and would need an extra quantize step"


def window(size: str, read: int, channels: int) -> str:
    return (
        f"slower in int8: its {size} kernel reads {read} of {channels} channels, and its "
        "input is float"
    )


EXAMPLES: dict[str, Example] = {}


def example(ort: Golden, trt: Golden) -> Callable[[Build], Build]:
    def add(build: Build) -> Build:
        EXAMPLES[getattr(build, "__name__", "")] = Example(build, ort, trt)
        return build

    return add
