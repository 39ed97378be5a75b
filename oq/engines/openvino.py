"""OpenVINO's CPU plugin as an engine: the only module that imports openvino.

It supports all styles of Q/DQ and reports the precision of each op (``runtimePrecision`` in the
runtime graph; docs.openvino.ai, "Low Precision Transformations").  That alone is not sufficient: a
layer with int8 weights but float inputs also reports "i8" and computes in float, so the inputs are
checked too.  Float layers are computed in float32; on processors with bfloat16 units the plugin
would use that by default.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import onnx

from oq.engines.engine import Engine, Kernels
from oq.engines.openvino_network import fix_reshapes, join_pairs
from oq.errors import DataError, MissingExtra, ModelError, OptionError, OqError, one_line
from oq.model.bodies import nodes_in, reads_of
from oq.model.files import loadable
from oq.model.functions import without_functions
from oq.model.noise import freeze_noise
from oq.model.ops import CONVOLUTIONS, PRODUCTS
from oq.model.session import Settings
from oq.numerics.values import Array

FEATURE = "--engine openvino"

HEAVY = CONVOLUTIONS | PRODUCTS
"""The compute-heavy ops of an ONNX file."""

_ELSEWHERE = HEAVY | {"DequantizeLinear"}
"""Ops that no preceding op is fused with."""

HEAVY_LAYERS = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul"})
"""The CPU plugin's layer types for these ops."""

INTEGERS = frozenset({"i8", "u8"})

_ADDED = re.compile(r"(/WithoutBiases)?(/Dequantization\w*)?$")
"""What OpenVINO appends to a node's name when it splits off a bias or a scale."""


class Compiled:
    """A model, or a file of OpenVINO's with outputs ``names``, compiled for the CPU plugin.

    Raises:
        MissingExtra: openvino is not installed.
        ModelError: OpenVINO cannot load the model.
        OptionError: ``settings`` ask for another provider.
    """

    def __init__(
        self, model: onnx.ModelProto | Path, settings: Settings, names: Sequence[str] = ()
    ) -> None:
        if settings.provider != "cpu":
            raise OptionError(
                f"--provider {settings.provider} is onnxruntime's; {FEATURE} runs on its CPU plugin"
            )
        graph = None if isinstance(model, Path) else model.graph
        _refuse_strings(() if graph is None else graph.input)
        self._compiled = _compile(model, settings.threads, settings.frozen)
        self._request = self._compiled.create_infer_request()
        self._names = list(names) if graph is None else [o.name for o in graph.output]
        self._unread = set() if graph is None else _unread(graph)  # OpenVINO has no ports for them

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs (all of them when ``outputs`` is None) for one batch.

        Raises:
            DataError: the model fails on this batch.
        """
        try:
            values = self._request.infer({n: a for n, a in feeds.items() if n not in self._unread})
            wanted = self._names if outputs is None else outputs
            return [values[self._compiled.output(name)] for name in wanted]
        except RuntimeError as error:
            raise DataError(f"OpenVINO fails on a batch: {_say(error)}") from error


@dataclass(frozen=True, slots=True)
class Layer:
    """One op of the runtime graph: its type, the widest precision of its inputs and its
    computation, and the names of the nodes it was made from."""

    name: str
    kind: str
    precision: str
    made_from: tuple[str, ...]


def count_kernels(model: onnx.ModelProto, file: Path | None = None) -> Kernels:
    """The compute-heavy ops of ``model`` that OpenVINO runs in integers, loaded from ``file``, its
    IR, where there is one.

    Every Conv, ConvTranspose, Gemm and MatMul of the file counts once, and so does every heavy
    layer that was made from other ops.  A node that was fused into another layer (attention becomes
    one Subgraph) has that layer's precision; one that cannot be found counts as float.
    """
    layers = [layer for layer in runtime_layers(file or model) if layer.kind != "Const"]
    heavy = list(_heavy(model, layers))
    left = tuple(f"{name} ({_where(layer)})" for name, layer in heavy if not _is_integer(layer))
    ops = Counter(f"{layer.kind} {layer.precision}" for layer in layers)
    return Kernels(
        len(heavy) - len(left),
        len(left),
        dict(sorted(ops.items())),
        counted="heavy ops",
        left=left,
    )


def runtime_layers(model: onnx.ModelProto | Path) -> list[Layer]:
    """The ops that OpenVINO runs for ``model``, constants included, in execution order."""
    found = []
    compiled = _compile(model, threads=0)
    with _as_model_error():
        ran = compiled.get_runtime_model()
    for op in ran.get_ordered_ops():
        kind, ran_in, names = (str(op.rt_info[key].value) for key in _FACTS)
        read = [i.get_element_type().get_type_name() for i in op.inputs()]
        floats = [p for p in read[:2] if kind in HEAVY_LAYERS and p not in INTEGERS]
        made_from = tuple(_ADDED.sub("", name) for name in names.split(",") if name)
        found.append(Layer(op.friendly_name, kind, next(iter(floats), ran_in), made_from))
    return found


_FACTS = ("layerType", "runtimePrecision", "originalLayersNames")


def _heavy(model: onnx.ModelProto, layers: Sequence[Layer]) -> Iterator[tuple[str, Layer | None]]:
    """Name and layer of every heavy node, then of the heavy layers that no node led to."""
    carriers: dict[str, Layer] = {}
    for layer in sorted(layers, key=lambda layer: layer.kind in HEAVY_LAYERS):
        carriers.update(dict.fromkeys(layer.made_from, layer))
    readers: dict[str, onnx.NodeProto] = {}
    for node in reversed(model.graph.node):
        readers.update(dict.fromkeys(node.input, node))
    reached = set()
    for node in model.graph.node:
        if node.op_type in HEAVY:
            carrier = _carrier(node, carriers, readers)
            reached.add(carrier)
            yield node.name or node.output[0], carrier
    for layer in layers:
        if layer.kind in HEAVY_LAYERS and layer not in reached:
            yield layer.name, layer


def _carrier(
    node: onnx.NodeProto, carriers: Mapping[str, Layer], readers: Mapping[str, onnx.NodeProto]
) -> Layer | None:
    """The layer made from ``node``, else from the nearest node behind it, up to the next Q/DQ
    pair: OpenVINO calls a fused layer by what it ends with."""
    here: onnx.NodeProto | None = node
    while here is not None:
        for name in (here.name, *here.output):
            if name in carriers:
                return carriers[name]
        here = readers.get(here.output[0])
        if here is not None and here.op_type in _ELSEWHERE:
            return None
    return None


def _is_integer(layer: Layer | None) -> bool:
    return layer is not None and layer.precision in INTEGERS


def _where(layer: Layer | None) -> str:
    if layer is None:
        return "no layer tells of it"
    return f"{layer.kind} in {layer.precision}"


def write_ir(model: onnx.ModelProto, path: Path) -> None:
    """Write ``model`` as OpenVINO's IR, in the form of :mod:`oq.engines.openvino_network`:
    ``path``, which ends in .xml, and its .bin beside it.

    Layers that have no name of the ONNX file's are numbered in the order of the graph: OpenVINO
    would number them in the order in which the process has made them.

    Raises:
        MissingExtra: openvino is not installed.
        ModelError: OpenVINO cannot read the model.
        OSError: it cannot write the files, and does not say why.
    """
    known = {name for n in nodes_in(model.graph) for name in (n.name, *n.output)}
    known |= {t.name for t in model.graph.initializer}
    with _as_model_error():
        network = _read(model)
        join_pairs(network, _import().opset13)
        fix_reshapes(network, _import().opset13)
        for i, op in enumerate(network.get_ordered_ops()):
            kind = op.get_type_name()
            numbered = re.fullmatch(rf"{re.escape(kind)}_\d+", op.friendly_name)
            if numbered and op.friendly_name not in known:
                op.friendly_name = f"{kind}:{i}"
    try:
        _import().save_model(network, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(f"OpenVINO gave up ({_say(error)}); is the disk full?") from error


def _unread(graph: onnx.GraphProto) -> set[str]:
    """The inputs of ``graph`` that no node reads and that are not outputs."""
    read = {t for node in graph.node for t in reads_of(node)} | {v.name for v in graph.output}
    return {v.name for v in graph.input} - read


def _refuse_strings(inputs: Iterable[onnx.ValueInfoProto]) -> None:
    """A string that reaches an output ends the process (``munmap_chunk(): invalid pointer``)."""
    for value in inputs:
        if value.type.tensor_type.elem_type == onnx.TensorProto.STRING:
            raise ModelError(
                f"OpenVINO cannot load the model: input {value.name!r} holds strings, which its "
                "CPU plugin does not take"
            )


def _read(model: onnx.ModelProto | Path) -> Any:
    if isinstance(model, onnx.ModelProto):
        model = without_functions(model)  # OpenVINO reads none
    with loadable(model) as source:
        read = (source, b"") if isinstance(source, bytes) else (source,)
        return _import().Core().read_model(*read)


def _compile(model: onnx.ModelProto | Path, threads: int, frozen: bool = False) -> Any:
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    core = _import().Core()
    if frozen and not isinstance(model, Path):
        model = freeze_noise(model)
    with _as_model_error():
        return core.compile_model(_read(model), "CPU", settings)


@contextmanager
def _as_model_error() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        said = _say(error)
        hint = "; export the model with float32 inputs" if NO_FLOAT64 in said else ""
        raise ModelError(f"OpenVINO cannot load the model: {said}{hint}") from error


NO_FLOAT64 = "does not support f64"
"""Said of a QuantizeLinear behind the Cast of a float64 input."""


@cache
def _import() -> Any:
    """openvino without its usage reports: its import would send one to Google Analytics.

    OpenVINO goes on with a stand-in of its own when the package that sends them is not there.
    """
    modules = cast("dict[str, Any]", sys.modules)
    hide = "openvino_telemetry" not in modules
    if hide:
        modules["openvino_telemetry"] = None
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise MissingExtra("openvino", FEATURE) from error
    except ImportError as error:  # broken: built for another processor, a library lacks
        raise OqError(
            f"openvino is installed and cannot be imported: {one_line(error)}; "
            "install it again: pip install --force-reinstall openvino"
        ) from error
    finally:
        if hide:
            del modules["openvino_telemetry"]
    return openvino


def _say(error: RuntimeError) -> str:
    """OpenVINO's reason, without the places in its source that it was passed through."""
    lines = [line for line in str(error).splitlines() if line and not _PLACE.match(line)]
    return one_line(RuntimeError(" ".join(lines)))[:300]


_PLACE = re.compile(r"Exception from |Check '|FrontEnd API failed|Summary:")

ENGINE = Engine("openvino", Compiled, lambda model, _loaded: count_kernels(model))
