"""The error of an output by channel: what the SQNR of the whole hides.

A detector's output holds boxes in pixels and scores in 0..1.  Under one grid the scores are rounded
to nothing, and the SQNR of the whole, which is that of the boxes, stays at 28 dB.
"""

from dataclasses import dataclass, field

import numpy as np

from oq.comparison.deviation import PRESENT, sqnr_db
from oq.numerics.values import Array

MOST_CHANNELS = 512
"""Axes that are longer hold positions or classes, of which many are near 0 in most samples."""

LEAST_VALUES = 32
"""A channel of fewer values is not judged."""


@dataclass(frozen=True, slots=True)
class ChannelErrors:
    """The channels of an output along ``axis``: the one with the lowest SQNR, ``worst``, its SQNR
    in dB, and the numbers of channels that are ``lost`` (below the limit asked for) and ``judged``.

    Not judged are channels of less than a tenth of the largest value of the output, or of 0.1 if
    that is smaller: a score that stays near 0 says that nothing was found, in float as in int8.
    """

    axis: int
    worst: int
    sqnr_db: float
    lost: int
    judged: int


@dataclass(slots=True)
class ChannelSums:
    """Running sums by channel of one output, in float64.  ``classes``: see :func:`channel_axis`."""

    classes: int | None = None
    axis: int = 0
    sums: Array = field(default_factory=lambda: np.zeros((3, 0)))  # signal, noise, values
    peaks: Array = field(default_factory=lambda: np.zeros(0))

    def add(self, reference: Array, found: Array) -> None:
        """Add a batch of both models; batches of other shapes are left out."""
        axis = channel_axis(reference.shape, self.classes)
        if axis is None or reference.shape != found.shape or not reference.size:
            return
        count = reference.shape[axis]
        if not self.peaks.size:
            self.axis, self.sums, self.peaks = axis, np.zeros((3, count)), np.zeros(count)
        if (axis, count) != (self.axis, self.peaks.size):
            return
        x = np.moveaxis(reference, axis, 0).reshape(count, -1).astype(np.float64)
        y = np.moveaxis(found, axis, 0).reshape(count, -1).astype(np.float64)
        usable = np.isfinite(x) & np.isfinite(y)
        x, y = np.where(usable, x, 0.0), np.where(usable, y, 0.0)
        signal, noise = (np.einsum("cv,cv->c", v, v) for v in (x, x - y))
        self.sums += np.stack([signal, noise, usable.sum(axis=1)])
        self.peaks = np.maximum(self.peaks, np.abs(x).max(axis=1))

    def decibels(self) -> dict[int, float]:
        """The SQNR of every channel that can be judged, in dB."""
        signal, noise, values = self.sums
        least = PRESENT * min(1.0, float(self.peaks.max(initial=0.0)))
        judged = np.flatnonzero((values >= LEAST_VALUES) & (self.peaks >= least) & (signal > 0))
        return {int(c): sqnr_db(float(signal[c]), float(noise[c])) for c in judged}

    def result(self, limit_db: float) -> ChannelErrors | None:
        """The channels that can be judged; None if there are none."""
        decibels = self.decibels()
        if not decibels:
            return None
        worst = min(decibels, key=lambda c: decibels[c])
        lost = sum(db < limit_db for db in decibels.values())
        return ChannelErrors(self.axis, worst, decibels[worst], lost, len(decibels))


def channel_axis(shape: tuple[int, ...], classes: int | None = None) -> int | None:
    """The channel axis of an output: that of its ``classes`` where it is known to score some at
    each position, else the shorter one of that behind the samples and the last one; None without
    one of 2 to :data:`MOST_CHANNELS` channels.

    >>> channel_axis((1, 84, 8400)), channel_axis((1, 300, 6)), channel_axis((8, 1000))
    (1, 2, None)
    >>> channel_axis((1, 40, 97), -1), channel_axis((1, 40, 6625), -1)
    (2, None)
    """
    if len(shape) < 2:
        return None
    axis = 1 if shape[1] <= shape[-1] else len(shape) - 1
    if classes is not None and len(shape) > 2:
        axis = classes % len(shape)
    return axis if 2 <= shape[axis] <= MOST_CHANNELS else None
