"""The interface of calibrators: a pure function from Statistics to a Range, with settings as
fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from inspect import signature
from typing import ClassVar, Protocol

import numpy as np

from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import QType, Range


@dataclass(frozen=True, slots=True)
class ErrorGains:
    """How errors of a tensor appear in the outputs of the layers that read it.

    Errors with variance v and mean m on every element cause an error power of ``noise * v + bias *
    m ** 2`` in an average output element: for weights ``w[o, i]``, ``noise = mean_o sum_i w^2`` and
    ``bias = mean_o (sum_i w)^2``.  Rounding has zero mean, clipping does not, so their relative
    effect depends on the layer.
    """

    noise: float = 1.0
    bias: float = 1.0


class Calibrator(Protocol):
    """A frozen dataclass in ``calibrators/<name>.py``, exported there as ``CALIBRATOR``.

    Its fields are its settings (``--set name=value``), checked in ``__post_init__``.  The first
    line of its docstring is shown by ``oq calibrators``.
    """

    needs: ClassVar[frozenset[Need]]
    """The statistics it needs beyond counts and extremes; may be left out where there are none."""

    def range(self, statistics: Statistics, qtype: QType, readers: ErrorGains) -> Range:
        """The range of real values that scale and zero point of ``qtype`` should cover.

        Must be a pure function: equal arguments give an equal range.
        """
        ...


def needs_beyond(calibrator: Calibrator) -> frozenset[Need]:
    """What ``calibrator`` needs beyond counts and extremes."""
    found: frozenset[Need] = getattr(calibrator, "needs", frozenset())
    return found


def broken_contract(what: object) -> str | None:
    """Why ``what`` is not a class of calibrators; None if it is one."""
    if not isinstance(what, type) or not is_dataclass(what):
        kind = what.__name__ if isinstance(what, type) else type(what).__name__
        return f"CALIBRATOR is {kind}; expected a class with @dataclass(frozen=True)"
    method = getattr(what, "range", None)
    try:
        signature(method).bind(None, None, None, None)  # type: ignore[arg-type]
    except TypeError:
        return f"{what.__name__} has no method range(statistics, qtype, readers)"
    needs: object = getattr(what, "needs", frozenset())
    if not isinstance(needs, frozenset) or not all(isinstance(n, Need) for n in needs):
        return f"{what.__name__}.needs is {needs!r}; expected a frozenset of Need"
    return None


def covering(lo: float, hi: float) -> Range:
    """The range ``[min(lo, 0), max(hi, 0)]``; for no values (inf, -inf) it is ``[0, 0]``."""
    low = min(lo, 0.0) if np.isfinite(lo) else 0.0
    high = max(hi, 0.0) if np.isfinite(hi) else 0.0
    return Range(np.asarray(low), np.asarray(high))


@dataclass(frozen=True, slots=True)
class Methods:
    """The calibrators of a run: the default, and those that sites name."""

    default: Calibrator
    named: Mapping[str, Calibrator] = field(default_factory=dict)

    def of(self, name: str | None) -> Calibrator:
        """The calibrator of a site that names ``name``."""
        return self.default if name is None else self.named[name]
