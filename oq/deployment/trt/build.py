"""The engine, where the package tensorrt is installed: the only module that imports it.

TensorRT tells in which type each layer runs; beside that stands the forecast of ``oq check``.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from oq.checks.forecast import NodeForecast
from oq.checks.judgement import judge
from oq.deployment.trt.engine import (
    BuildError,
    RefusedError,
    build_engine,
    layers_of,
    nodes_of,
    precision_of,
)
from oq.deployment.trt.profiles import Shapes3
from oq.errors import ModelError
from oq.model.files import save_model
from oq.planning import registry
from oq.wording import counted

LOW = frozenset({"int8", "fp8"})
"""Precisions that the forecast calls int8."""

NAMED = 5
"""Layers that are named."""


@dataclass(frozen=True, slots=True)
class Built:
    """What TensorRT made of the file, in words: ``facts``, and ``notes`` of what differs."""

    facts: Mapping[str, str]
    notes: tuple[str, ...]


def build(model: onnx.ModelProto, shapes: Mapping[str, Shapes3], flags: Sequence[str]) -> Built:
    """Build the engine, if that can be done here; a note says why not.

    Raises:
        ModelError: TensorRT's parser refuses the file.
    """
    trt = _import()
    if trt is None:
        return Built({}, ("tensorrt is not installed here: no engine was built",))
    try:
        with tempfile.TemporaryDirectory(prefix="oq-") as folder:
            path = Path(folder) / "model.onnx"
            save_model(model, path)
            layers = layers_of(trt, build_engine(trt, str(path), shapes, flags))
    except RefusedError as error:
        raise ModelError(f"TensorRT {trt.__version__} does not read it: {error}"[:400]) from error
    except BuildError as error:
        return Built({}, (f"TensorRT {trt.__version__} built no engine here: {error}"[:300],))
    return _compare(trt.__version__, model, layers)


def _import() -> Any:
    try:
        import tensorrt
    except ModuleNotFoundError:
        return None
    return tensorrt


def _compare(version: str, model: onnx.ModelProto, layers: Sequence[Any]) -> Built:
    """The precision of each kernel that is forecast, and what it is in the engine."""
    ran = {node: precision_of(layer) for layer in layers for node in nodes_of(layer)}
    kernels = [f for f in judge(model, registry.target("trt")).forecast.nodes if f.kernel]
    told = [f for f in kernels if _precision(f, ran)]
    other = [f for f in told if (_precision(f, ran) in LOW) != (f.runs == "int8")]
    same = len(told) - len(other)
    facts = {
        "engine": f"TensorRT {version}, {counted(len(layers), 'layer')}",
        "precision": f"{same} of {counted(len(told), 'node')} as oq check forecasts",
    }
    return Built(facts, tuple(_notes(other, ran, len(kernels) - len(told))))


def _precision(found: NodeForecast, ran: Mapping[str, str]) -> str:
    return ran.get(found.node, "")


def _notes(other: Sequence[NodeForecast], ran: Mapping[str, str], silent: int) -> Iterator[str]:
    for found in other[:NAMED]:
        wanted = "int8" if found.runs == "int8" else "float"
        yield f"{found.node!r} runs in {ran[found.node]}, and was forecast in {wanted}"
    if len(other) > NAMED:
        yield f"and {len(other) - NAMED} others run otherwise than forecast"
    if silent:
        yield f"no layer of the engine names {counted(silent, 'node')} of the forecast"
