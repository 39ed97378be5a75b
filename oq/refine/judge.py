"""The output SQNR of a quantized model on held-out samples, by which steps are kept or dropped.

The SQNR of the outputs in dB, ``10 log10(sum x^2 / sum (x - y)^2)``, averaged over the float
outputs; for a model that ends in a Softmax or Sigmoid, the SQNR of its input (the logits), since a
few dozen samples with probabilities near 0 and 1 say little.  Both models run as ONNX defines them,
without graph optimizations (:mod:`oq.model.session`: literal).
"""

from dataclasses import dataclass, field

import numpy as np
import onnx

from oq.comparison.deviation import Noise, sqnr_db
from oq.model.session import SERIAL, Session, expose
from oq.model.view import GraphView
from oq.numerics.values import Array
from oq.planning.outputs import find_logits
from oq.refine.subject import Feeds

HIGHEST_DB = 150.0
"""Used for equal outputs in an average."""


@dataclass(slots=True)
class Judge:
    """Compares models with ``model`` on ``samples``, ``at_once`` of which run side by side;
    ``model`` runs only once."""

    model: onnx.ModelProto
    view: GraphView
    samples: tuple[Feeds, ...]
    at_once: int | None = None
    tensors: tuple[str, ...] = ()
    _exact: list[list[Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tensors = find_logits(self.view)
        self._exact = self._run(self.model)

    def sqnr_db(self, quantized: onnx.ModelProto) -> float:
        """The mean SQNR of the judged tensors in dB.  Values that are not finite in the float model
        are ignored; values that are not finite only in ``quantized`` count as infinite noise."""
        found = self._run(quantized)
        figures = []
        for slot, _ in enumerate(self.tensors):
            sums = Noise()
            for exact, other in zip(self._exact, found, strict=True):
                sums.add(exact[slot], other[slot])
            figures.append(min(sqnr_db(sums.signal, sums.noise), HIGHEST_DB))
        return float(np.mean(figures))

    def _run(self, model: onnx.ModelProto) -> list[list[Array]]:
        session = Session(expose(model, self.tensors), SERIAL)
        return session.run_all(self.samples, self.tensors, self.at_once)
