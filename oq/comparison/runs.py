"""Both models run on a batch: by the process that compares them, or by workers.

Workers give back outputs, and the process that asked adds them up in the order of the samples, so
that sums are those of one process.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from oq.data.dealing import Piece as Samples
from oq.data.dealing import deal, is_empty, read
from oq.data.sizing import Sizing
from oq.data.source import Fitted
from oq.engines.engine import Loaded, find_engine
from oq.errors import DataError
from oq.model.session import Session, Settings, custom_ops, use_custom_ops
from oq.model.stored import whole
from oq.numerics.values import Array, Batch
from oq.parallel import Tell, Workers

PIECE = 64
"""Samples per task, about, whose outputs are in memory together."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The outputs for a batch: the float model's, and the quantized one's by reading."""

    samples: int
    labels: Array | None
    exact: Sequence[Array]
    found: Mapping[str, Sequence[Array]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Both models, loaded; ``names`` of the outputs that are compared."""

    reference: Session
    readings: Mapping[str, Loaded]
    names: Sequence[str]

    def run(self, batch: Batch) -> Ran:
        """The outputs of both models for ``batch``."""
        exact = self.reference.run(batch.feeds, self.names)
        found = {r: s.run(batch.feeds, self.names) for r, s in self.readings.items()}
        return Ran(batch.samples, batch.labels, exact, found)


def open_pair(
    float_model: onnx.ModelProto, quantized: onnx.ModelProto, engine: str, settings: Settings
) -> Pair:
    """Both models, the quantized one as ``engine`` runs it and as its nodes say."""
    literal = Session(quantized, Settings(reading="literal", threads=settings.threads))
    readings = {"deployed": find_engine(engine).load(quantized, settings), "literal": literal}
    reference = Session(float_model, settings)
    return Pair(reference, readings, reference.arrays)


@dataclass(frozen=True, slots=True)
class Apart:
    """``workers`` that run the samples of ``source``.

    Raises:
        DataError: they are not rows, which alone are dealt out in their order.
    """

    workers: Workers
    source: Fitted
    sizing: Sizing

    def __post_init__(self) -> None:
        if self.source.grain(self.sizing) is None:
            raise DataError(
                f"{self.source.name}: --ray compares samples in rows (arrays, images, a folder of "
                ".npz, a ray.data.Dataset), and these are complete feeds: leave it out"
            )

    def run(
        self, float_model: onnx.ModelProto, quantized: onnx.ModelProto, engine: str
    ) -> Iterator[Ran]:
        """The outputs for every batch, in order."""
        count = self.source.count or 0
        many = max(-(-count // PIECE), 1)
        pieces = [p for p in deal(self.source, self.sizing, many) if not is_empty(p)]
        models = whole(float_model), whole(quantized)  # workers see no temporary files
        work = _RunWork(*models, engine, self.source, self.sizing, custom_ops())
        for found in self.workers.map(work, pieces):
            yield from found


@dataclass(frozen=True, slots=True)
class _RunWork:
    float_model: onnx.ModelProto
    quantized: onnx.ModelProto
    engine: str
    source: Fitted
    sizing: Sizing
    libraries: tuple[Path, ...]

    def __call__(self, samples: Samples, tell: Tell) -> list[Ran]:
        use_custom_ops(self.libraries)
        pair = open_pair(self.float_model, self.quantized, self.engine, Settings(threads=1))
        return [pair.run(batch) for _, batch in read(self.source, self.sizing, samples)]
