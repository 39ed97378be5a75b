"""OpenVINO's IR, read from its two files without OpenVINO: layers in .xml, constants in .bin.

Layers are linked by edges between ports.  A quantized activation is a FakeQuantize, whose four
limits give the scale, and maybe a Convert to the integer type; without one its codes have no type
and count from 0.  A quantized weight is a Const of integers that is converted, less a zero point,
times a scale.  (docs.openvino.ai, "Operation Sets" and "OpenVINO IR format"; FakeQuantize-1:
``scale = (input_high - input_low) / (levels - 1)``.)
"""

import re
import xml.etree.ElementTree as tree
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np

from oq.artifacts.artifact import Contents, GridUse
from oq.errors import ModelError, one_line
from oq.numerics.values import STRING, Array, TensorInfo

DTYPES: Mapping[str, str] = {
    "bf16": "bfloat16",
    "boolean": "bool",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "f8e4m3": "float8_e4m3fn",
    "f8e5m2": "float8_e5m2",
    "string": STRING,
    **{f"{kind}{bits}": f"{'u' * (kind == 'u')}int{bits}"
       for kind in "iu" for bits in (4, 8, 16, 32, 64)},
}  # fmt: skip
"""Element type of OpenVINO -> dtype; others go by their own name."""

INTEGERS = frozenset({"i4", "u4", "i8", "u8", "i16", "u16", "i32"})

SAME_VALUES = frozenset({"Broadcast", "Convert", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Layers that give the values of their first input."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its ``data`` attributes, the precision, names and axes of its output."""

    key: str
    name: str
    kind: str
    data: Mapping[str, str]
    precision: str
    names: tuple[str, ...]
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """One graph of layers: ``sources`` and ``readers`` are the layers (key) before each input of a
    layer, and behind each layer."""

    layers: Mapping[str, Layer]
    sources: Mapping[str, Mapping[int, str]]
    readers: Mapping[str, tuple[str, ...]]

    def source(self, layer: Layer, slot: int) -> Layer | None:
        """The layer at input ``slot``."""
        key = self.sources.get(layer.key, {}).get(slot)
        return None if key is None else self.layers[key]

    def reader(self, layer: Layer, kinds: frozenset[str]) -> Layer | None:
        """The first reader of ``layer`` of one of the ``kinds``."""
        found = (self.layers[key] for key in self.readers.get(layer.key, ()))
        return next((r for r in found if r.kind in kinds), None)

    def constant(self, layer: Layer | None) -> Layer | None:
        """The Const whose values ``layer`` has."""
        while layer is not None and layer.kind in SAME_VALUES:
            layer = self.source(layer, 0)
        return layer if layer is not None and layer.kind in CONSTANT else None


CONSTANT = frozenset({"Const"})


@dataclass(frozen=True, slots=True)
class File:
    """The two files: the main graph first, then the bodies of If, Loop and TensorIterator."""

    networks: tuple[Network, ...]
    weights: memoryview
    facts: Mapping[str, str]
    bytes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    def values(self, layer: Layer) -> Array | None:
        """The values of a Const, flat; None for a type that NumPy has not."""
        dtype = DTYPES.get(layer.data["element_type"], STRING)
        if dtype == STRING:
            return None
        held = self.bytes_of(layer)
        if dtype.endswith("int4"):  # two to a byte, the first in the lower half
            packed = np.frombuffer(held, np.uint8)
            codes = np.stack((packed & 15, packed >> 4), axis=-1).reshape(-1)
            return codes[: prod(size or 0 for size in layer.shape)].view(dtype)
        return np.frombuffer(held, np.dtype(getattr(ml_dtypes, dtype, dtype)))

    def bytes_of(self, layer: Layer) -> memoryview:
        """The bytes of a Const."""
        start = int(layer.data["offset"])
        return self.weights[start : start + int(layer.data["size"])]

    def contents(self) -> Contents:
        """What the files hold; a layer's name is that of the ONNX node or tensor."""
        found = _Reading(self)
        for network in self.networks:
            found.read(network)
        kinds = Counter(layer.kind for n in self.networks for layer in n.layers.values())
        return Contents(
            "openvino",
            self.bytes,
            self.facts,
            self.inputs,
            self.outputs,
            dict(sorted(kinds.items())),
            tuple(found.activations),
            tuple(found.weights),
            _sizes(self.networks),
        )


def read_ir(path: Path) -> File:
    """The IR at ``path``, its .bin beside it.

    Raises:
        ModelError: it is not an IR, or it is damaged.
    """
    beside = path.with_suffix(".bin")
    if not beside.is_file():
        raise ModelError(f"{str(path)!r} has no {beside.name!r} beside it, which holds its weights")
    try:
        root = tree.fromstring(path.read_bytes())
    except tree.ParseError as error:
        raise ModelError(f"{str(path)!r} is not OpenVINO's IR: {one_line(error)}") from error
    if root.tag != "net" or root.find("layers") is None:
        raise ModelError(f"{str(path)!r} is XML, but not OpenVINO's IR: it has no <net> of layers")
    weights = memoryview(beside.read_bytes())
    networks = tuple(_network(n) for n in root.iter() if n.find("layers") is not None)
    for layer in (layer for n in networks for layer in n.layers.values()):
        end = int(layer.data.get("offset", 0)) + int(layer.data.get("size", 0))
        if layer.kind in CONSTANT and end > len(weights):
            raise ModelError(
                f"{beside.name!r} has {len(weights):,} bytes; layer {layer.name!r} of {path.name!r}"
                f" needs {end:,}"
            )
    inputs, outputs = _ends(networks[0], root)
    size = path.stat().st_size + len(weights)
    return File(networks, weights, _facts(root), size, inputs, outputs)


def _network(root: tree.Element) -> Network:
    layers = {}
    for found in root.iterfind("layers/layer"):
        data, port = found.find("data"), found.find("output/port")
        axes = () if port is None else tuple(int(d.text or 0) for d in port.iterfind("dim"))
        layers[found.get("id", "")] = Layer(
            found.get("id", ""),
            found.get("name", ""),
            found.get("type", ""),
            {} if data is None else dict(data.attrib),
            "" if port is None else port.get("precision", "").lower(),
            () if port is None else _names(port.get("names", "")),
            tuple(None if size < 0 else size for size in axes),
        )
    sources: dict[str, dict[int, str]] = {}
    readers: dict[str, tuple[str, ...]] = {}
    for edge in root.iterfind("edges/edge"):
        start, end = edge.get("from-layer", ""), edge.get("to-layer", "")
        sources.setdefault(end, {})[int(edge.get("to-port", 0))] = start
        readers[start] = (*readers.get(start, ()), end)
    return Network(layers, sources, readers)


def _names(text: str) -> tuple[str, ...]:
    """``a,b\\,c`` -> ("a", "b,c")."""
    return tuple(name.replace("\\,", ",") for name in re.split(r"(?<!\\),", text) if name)


def _ends(
    network: Network, root: tree.Element
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    inputs, outputs = [], []
    for found in root.iterfind("layers/layer"):
        layer = network.layers[found.get("id", "")]
        if layer.kind in {"Parameter"}:
            name = layer.name if layer.name in layer.names or not layer.names else layer.names[0]
            inputs.append(_info(name, layer))
        elif layer.kind in {"Result"}:
            source = network.source(layer, 0)
            given = _names(found.get("output_names", ""))
            name = given[0] if given else re.sub(r"/sink_port_\d+$", "", layer.name)
            outputs.append(_info(name, layer if source is None else source))
    return tuple(inputs), tuple(outputs)


def _info(name: str, layer: Layer) -> TensorInfo:
    kind = layer.data.get("element_type", _PRECISIONS.get(layer.precision, layer.precision))
    return TensorInfo(name, DTYPES.get(kind, kind), layer.shape)


_PRECISIONS: Mapping[str, str] = {
    **{f"fp{bits}": f"f{bits}" for bits in (16, 32, 64)},
    "bool": "boolean",
}
"""Ports name some types otherwise than layers do."""


def _facts(root: tree.Element) -> dict[str, str]:
    facts = {"IR version": root.get("version", "")}
    for info in root.iterfind("rt_info/info"):
        if info.get("name") in {"OpenVINO Runtime"}:
            facts["OpenVINO"] = info.get("value", "")
    for info in root.iterfind("rt_info/framework/*"):
        if info.tag.startswith("oq."):
            facts[info.tag] = info.get("value", "")
    return {name: text for name, text in facts.items() if text}


def _sizes(networks: tuple[Network, ...]) -> dict[str, int]:
    """Bytes by dtype; constants that share their bytes in .bin count once."""
    seen, sizes = set(), Counter[str]()
    for layer in (layer for n in networks for layer in n.layers.values() if layer.kind in CONSTANT):
        kind, place = layer.data["element_type"], (layer.data["offset"], layer.data["size"])
        if place not in seen:
            seen.add(place)
            sizes[DTYPES.get(kind, kind)] += int(layer.data["size"])
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class _Reading:
    file: File
    activations: list[GridUse] = field(default_factory=list)
    weights: list[GridUse] = field(default_factory=list)

    def read(self, network: Network) -> None:
        for layer in network.layers.values():
            if layer.kind in {"FakeQuantize"}:
                stored = network.constant(network.source(layer, 0)) is not None
                found = self.weights if stored else self.activations
                found.extend(self._rounded(network, layer))
            elif layer.kind in CONSTANT and layer.data["element_type"] in INTEGERS:
                self.weights.extend(self._weight(network, layer))

    def _values(self, network: Network, layer: Layer | None) -> Array | None:
        held = network.constant(layer)
        found = None if held is None else self.file.values(held)
        return None if found is None or not found.size else found.astype(np.float64)

    def _rounded(self, network: Network, layer: Layer) -> Iterator[GridUse]:
        limits = [self._values(network, network.source(layer, slot)) for slot in (1, 2, 3, 4)]
        low, high, least, _most = limits
        source, codes = network.source(layer, 0), network.reader(layer, frozenset({"Convert"}))
        if source is None or low is None or high is None or least is None:
            return
        scale = (high - low) / (int(layer.data["levels"]) - 1)
        points = np.round((least if codes is not None else 0) - low / scale)
        kind = "" if codes is None else codes.data.get("destination_type", "")
        yield GridUse(
            source.names[0] if source.names else source.name,
            DTYPES.get(kind, f"{layer.data['levels']} levels"),
            (float(scale.min()), float(scale.max())),
            (int(points.min()), int(points.max())),
            scale.size,
        )

    def _weight(self, network: Network, layer: Layer) -> Iterator[GridUse]:
        """Converted, then maybe less a zero point, times a scale; no grid for other integers."""
        value = layer
        while (behind := network.reader(value, SAME_VALUES)) is not None:
            value = behind
        less = network.reader(value, frozenset({"Subtract"}))
        if less is not None and network.source(less, 0) is not value:
            return  # a zero point itself
        behind = value if less is None else less
        times = network.reader(behind, frozenset({"Multiply"}))
        if value is layer or times is None or network.source(times, 0) is not behind:
            return
        scale = self._values(network, network.source(times, 1))
        zero = None if less is None else self._values(network, network.source(less, 1))
        none = (0, 0) if less is None else None
        scales = 1 if scale is None else scale.size
        yield GridUse(
            layer.name,
            DTYPES[layer.data["element_type"]],
            None if scale is None else (float(scale.min()), float(scale.max())),
            none if zero is None else (int(zero.min()), int(zero.max())),
            scales,
            None if scales in (1, *layer.shape) else prod(n or 0 for n in layer.shape) // scales,
        )
