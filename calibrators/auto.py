"""Per tensor, the range with the least error in the outputs of the layers that read the tensor."""

from dataclasses import dataclass
from typing import ClassVar

from oq.calibrators.entropy import Entropy
from oq.calibrators.minmax import MinMax
from oq.calibrators.mse import Mse
from oq.calibrators.percentile import Percentile
from oq.numerics.calibrator import Calibrator, ErrorGains, covering
from oq.numerics.grid import fit
from oq.numerics.histogram import Histogram, quantization_error, to_histogram
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import QType, Range

CANDIDATES: tuple[Calibrator, ...] = (
    MinMax(),
    Mse(),
    Percentile(99.999),
    Percentile(99.99),
    Percentile(99.9),
    Entropy(stride=64),
)


@dataclass(frozen=True, slots=True)
class Auto:
    """The best of the other calibrators, by the error in the layers that read the tensor.

    ``argmin noise * Var[e] + bias * E[e]^2`` over the ranges of the other calibrators.

    e is the quantization error on the tensor's histogram, for the target's data type and scales;
    ``noise`` and ``bias`` come from the weights of the layers that read it
    (:class:`oq.numerics.calibrator.ErrorGains`): the shift of the mean by clipping cancels in a
    layer whose weights sum to zero, and adds up in one whose weights all have the same sign.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.HISTOGRAM, Need.READERS})

    def range(
        self, statistics: Statistics, qtype: QType, readers: ErrorGains | None = None
    ) -> Range:
        """The range of the best candidate; the first of equals."""
        if statistics.count == 0:
            return covering(0.0, 0.0)
        if not qtype.uniform:  # a relative error gains nothing from clipping
            return covering(statistics.lo, statistics.hi)
        values = to_histogram(statistics)
        weigh = ErrorGains() if readers is None else readers
        found = [c.range(statistics, qtype, weigh) for c in CANDIDATES]
        return min(found, key=lambda r: _score(values, r, qtype, weigh))


def _score(values: Histogram, candidate: Range, qtype: QType, readers: ErrorGains) -> float:
    error = quantization_error(values, fit(candidate, qtype))
    return readers.noise * error.variance + readers.bias * error.mean**2


CALIBRATOR = Auto
