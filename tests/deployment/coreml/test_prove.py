"""The proof sees a package that was broken on purpose, by one number or by one operator."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oq
from oq.data.samples import open_samples
from oq.deployment.coreml.asked import Asked, Source
from oq.deployment.coreml.format import write_program
from oq.deployment.coreml.library import load_library
from oq.deployment.coreml.prove import Differences, Gate, prove
from oq.model.graph import Graph
from tests.graphs import Net

pytest.importorskip("coremltools")

FULL = Asked(18, False, None, None, ())


def model() -> onnx.ModelProto:
    net = Net()
    a = net.node("Relu", [net.conv(net.input("x", (1, 4, 8, 8)), "a")], "r")
    net.conv(net.node("Add", [net.conv(a, "b"), a], "s"), "y")
    made = oq.quantize(net.model("y"), "coreml", "random", samples=4, refine="none", verify=False)
    return made.model


def changed(whole: onnx.ModelProto, part: str, change: Callable[..., object]) -> onnx.ModelProto:
    """``whole`` with the first constant whose name ends in ``part`` changed."""
    found = onnx.ModelProto()
    found.CopyFrom(whole)
    tensor = next(t for t in found.graph.initializer if t.name.endswith(part))
    values = numpy_helper.to_array(tensor).copy()
    change(values)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return found


def nudge(values: np.ndarray) -> None:
    values.reshape(-1)[5] += 1 if values.reshape(-1)[5] < 100 else -1


def widen(values: np.ndarray) -> None:
    values *= np.asarray(1.0625, values.dtype)


def turn(values: np.ndarray) -> None:
    values[:] = np.roll(values, 1, axis=0)


def proofs(written: onnx.ModelProto, file: onnx.ModelProto, folder: Path) -> list[bool]:
    """Whether what was written of one model passes as another: as stored, layer by layer."""
    path = folder / "m.mlpackage"
    source = Source(written, Graph(written).view(), {})
    _, names = write_program(load_library(), source, FULL, "m", path)
    batches = list(open_samples(file, "random", None, 2, 0).batches(1))
    against = dataclasses.replace(source, model=file, view=Graph(file).view())
    return [p.passed for p in prove(path, against, names, batches, FULL)]


BREAKS: Mapping[str, tuple[str, Callable[..., object], list[bool]]] = {
    "nothing": ("w_a_quantized", lambda values: None, [True, True]),
    "one code of a weight": ("w_a_quantized", nudge, [False, True]),
    "codes of other channels": ("w_a_quantized", turn, [False, False]),
    "scales of other channels": ("w_a_scale", turn, [False, False]),
    "the scale of an activation": ("r_scale", widen, [False, False]),
    "a bias": ("b_b", lambda values: np.add(values, 0.1, out=values), [True, False]),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_seen(name: str, tmp_path: Path) -> None:
    part, change, expected = BREAKS[name]
    whole = model()
    found = proofs(changed(whole, part, change), whole, tmp_path)
    assert found[0] is expected[0] and (found[1] is expected[1] or name == "one code of a weight")


def test_a_gate_counts_steps_and_shares() -> None:
    found = Differences()
    found.add("t", np.arange(1000, dtype=np.int8), np.arange(1000, dtype=np.int8))
    assert found.passes(Gate(0, 0.0))
    moved = np.arange(1000, dtype=np.int8)
    moved[:10] += 1
    found.add("u", np.arange(1000, dtype=np.int8), moved)
    assert not found.passes(Gate(0, 0.1)) and not found.passes(Gate(1, 0.004))
    assert found.passes(Gate(1, 0.005)) and found.worst == "u"
