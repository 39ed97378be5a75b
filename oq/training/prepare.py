"""From a float model to a quantized one that can be trained: the door to what imports torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from oq.errors import OptionError
from oq.exporting.load import Model
from oq.options.keywords import QuantizeOptions, complete, documented
from oq.pipeline import start, write_started
from oq.training.convert import need_torch

if TYPE_CHECKING:
    from oq.training.qat import Qat


@documented(QuantizeOptions)
def prepare_qat(
    model: Model,
    target: str,
    data: object = None,
    *,
    scales: str = "frozen",
    milestones: Sequence[int] | None = None,
    **options: Unpack[QuantizeOptions],
) -> "Qat":
    """``model`` planned, calibrated and refined as :func:`oq.quantize` does, to be trained.

    ``scales``: "frozen", or "learned" by gradient (LSQ; for targets of powers of two TQT).
    ``milestones``: the numbers of steps at which observers are switched on, fake quantization is,
    observers are switched off and statistics frozen, as in coremltools; None: calibrated ranges
    stay and quantizers round from the start.

    Raises:
        MissingExtra: torch is not installed.
        OqError: as :func:`oq.quantize`, or an operator has no form in torch here.
    """
    need_torch("oq.prepare_qat")
    from oq.training.qat import Qat

    asked = complete(QuantizeOptions, options)
    if asked["format"] != "qdq":
        raise OptionError(
            f"format={asked['format']!r}: Q/DQ are trained; deploy the finished file --to qoperator"
        )
    started = start(model, target, data, asked)
    return Qat(started, write_started(started), scales, milestones)
