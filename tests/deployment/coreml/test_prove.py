"""The proof sees a package that was broken on purpose, by one number or by one operator."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
from oq.numerics.values import Array
from tests.graphs import Net
from tests.mil import WEIGHTS, block_of, edit_model, operation_of

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


def scale_of(message: Any, kind: str) -> Any:
    """The numbers of the scale of the first operation of ``kind``."""
    name = operation_of(message, kind).inputs["scale"].arguments[0].name
    made = next(o for o in block_of(message).operations if o.outputs[0].name == name)
    return made.attributes["val"].immediateValue.tensor.floats.values


def one_scale(package: Path, codes: Array) -> None:
    def edit(message: Any) -> None:
        scale_of(message, "quantize")[0] *= 1.0625

    edit_model(package, edit)


def one_code(package: Path, codes: Array) -> None:
    other = codes.copy()
    nudge(other)
    store(package, codes, other)


def one_layout(package: Path, codes: Array) -> None:
    """Rows and columns of the kernels exchanged."""
    store(package, codes, codes.swapaxes(2, 3))


def store(package: Path, codes: Array, other: Array) -> None:
    """``other`` where ``codes`` lie."""
    file = package / WEIGHTS
    whole = file.read_bytes()
    assert whole.count(codes.tobytes()) == 1
    file.write_bytes(whole.replace(codes.tobytes(), other.tobytes()))


SPOILED: Mapping[Callable[[Path, Array], None], tuple[bool, str]] = {
    one_scale: (False, "'x_QuantizeLinear'"),
    one_code: (True, "w_a"),
    one_layout: (False, "w_a"),
}
"""What is done to the files of a package -> whether its results pass, and what is named."""


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda f: f.__name__)
def test_a_package_that_is_changed_on_disk_is_caught(
    spoil: Callable[[Path, Array], None], tmp_path: Path
) -> None:
    whole, path = model(), tmp_path / "m.mlpackage"
    source = Source(whole, Graph(whole).view(), {})
    _, names = write_program(load_library(), source, FULL, "m", path)
    codes = next(t for t in whole.graph.initializer if t.name.endswith("w_a_quantized"))
    spoil(path, numpy_helper.to_array(codes))
    batches = list(open_samples(whole, "random", None, 2, 0).batches(1))
    stored, layers = prove(path, source, names, batches, FULL)
    passes, named = SPOILED[spoil]
    assert not stored.passed and named in stored.figures
    assert passes or not layers.passed


def test_a_gate_counts_steps_and_shares() -> None:
    found = Differences()
    found.add("t", np.arange(1000, dtype=np.int8), np.arange(1000, dtype=np.int8))
    assert found.passes(Gate(0, 0.0))
    moved = np.arange(1000, dtype=np.int8)
    moved[:10] += 1
    found.add("u", np.arange(1000, dtype=np.int8), moved)
    assert not found.passes(Gate(0, 0.1)) and not found.passes(Gate(1, 0.004))
    assert found.passes(Gate(1, 0.005)) and found.worst == "u"
