"""How far a quantized model is from the float one on samples that no step has learned from.

The figure is the SQNR of the outputs in dB, ``10 log10(sum x^2 / sum (x - y)^2)``, averaged over
the float outputs; of a model that ends in a Softmax or Sigmoid, the SQNR in front of it, since a
few dozen samples with probabilities near 0 and 1 say little.  Both models run as the ONNX
specification reads (:mod:`oq.model.session`: literal).
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
"""What equality counts as in an average."""


@dataclass(slots=True)
class Judge:
    """Compares models with ``model`` on ``samples``; runs ``model`` itself once."""

    model: onnx.ModelProto
    view: GraphView
    samples: tuple[Feeds, ...]
    tensors: tuple[str, ...] = ()
    _exact: list[list[Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tensors = find_logits(self.view)
        self._exact = self._run(self.model)

    def sqnr_db(self, quantized: onnx.ModelProto) -> float:
        """The mean SQNR of the judged tensors in dB; values that are not finite in the float
        model count for nothing, those only ``quantized`` has for infinite noise."""
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
        return session.run_all(self.samples, self.tensors)
