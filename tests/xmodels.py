"""Small networks as xmodels: quantized for dpu on random data, translated, written, read back."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

import oq
from oq.artifacts.xmodel.file import read_graph
from oq.artifacts.xmodel.reader import XmodelFile
from oq.data.source import random_source
from oq.deployment.formats import Proof
from oq.deployment.xmodel.format import graph_attributes
from oq.deployment.xmodel.proofs import prove
from oq.deployment.xmodel.rows import translate
from oq.deployment.xmodel.schema import message_class
from oq.deployment.xmodel.shapes import at_batch_1, static_view
from oq.deployment.xmodel.translation import Translation
from oq.dpu.simulate import Simulator
from oq.model.proto_fields import inputs_of
from oq.numerics.values import Array
from tests.graphs import Net

SIZE = (4, 8, 6)
"""Channels, height and width of the images, all different."""


def image(channels: int = SIZE[0], *, batch: str | int = "n") -> tuple[Net, str]:
    net = Net()
    return net, net.input("x", (batch, channels, *SIZE[1:]))


def quantized(model: onnx.ModelProto, **options: object) -> onnx.ModelProto:
    given = {"samples": 4, "refine": "none", "verify": False, **options}
    return oq.quantize(model, "dpu", "random", **given).model  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Written:
    """A Q/DQ model of batch 1, its translation, and the bytes of the file."""

    model: onnx.ModelProto
    translation: Translation
    data: bytes

    def read(self) -> XmodelFile:
        return XmodelFile(read_graph(self.data), len(self.data))

    def proofs(self, changed: XmodelFile | None = None) -> tuple[Proof, ...]:
        samples = random_source(inputs_of(self.model), 2, 1)
        opened = self.read() if changed is None else changed
        return prove(self.model, self.translation, opened, samples)

    def change(self, work: Callable[[object], None]) -> XmodelFile:
        """The file with its protobuf message changed by ``work``."""
        graph = message_class("Graph").FromString(self.data)
        work(graph)
        data = graph.SerializeToString()
        return XmodelFile(read_graph(data), len(data))


def write(qdq: onnx.ModelProto) -> Written:
    model = at_batch_1(qdq)
    t = translate(static_view(model))
    return Written(model, t, t.builder.to_bytes("net", graph_attributes(t)))


def simulated(model: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """Every output by name, as the DPU simulation computes it."""
    simulator = Simulator(model)
    return dict(zip(simulator.outputs, simulator.run(feeds), strict=True))


def feeds_of(opened: XmodelFile, seed: int = 3) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {
        i.name: random.standard_normal([int(s or 1) for s in i.shape or ()]).astype(np.float32)
        for i in opened.inputs
    }


@functools.cache
def lenet() -> onnx.ModelProto:
    """Two convolutions with pools and two linear layers, for dpu."""
    net, x = image(1)
    net.node("Conv", [x, net.weight("w1", 6, 1, 3, 3), net.weight("b1", 6)], "c1", pads=[1] * 4)
    net.node("Relu", ["c1"], "r1")
    net.node("MaxPool", ["r1"], "p1", kernel_shape=[2, 2], strides=[2, 2])
    net.node("Conv", ["p1", net.weight("w2", 5, 6, 3, 2), net.weight("b2", 5)], "c2")
    net.node("Relu", ["c2"], "r2")
    net.node("Flatten", ["r2"], "f")
    net.gemm("f", "g", features=5 * 2 * 2)
    net.node("Relu", ["g"], "r3")
    net.node("Gemm", ["r3", net.weight("w4", 3, 10), net.weight("b4", 10)], "y")
    return quantized(net.model("y"))


def saved(model: onnx.ModelProto, folder: Path, name: str = "m.int8.onnx") -> Path:
    onnx.save(model, folder / name)
    return folder / name
