"""When a quantized model no longer resembles the float one: the figures of a mode, and its signs.

An output, or a channel of one, whose error is as large as itself; or classes that most samples do
not share with the float model.  Numbers that name something (classes, indices, flags) are judged by
how many are equal, since the size of their difference says nothing.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from oq.comparison.channels import ChannelErrors
from oq.comparison.deviation import Classification, OutputError

COLLAPSE_DB = 3.0
"""Decibels; at 0 the error of an output is as large as the output."""

COLLAPSE_AGREEMENT = 50.0
"""Percentage of samples whose top-1 equals the float model's."""

ENOUGH_VOTES = 8
"""Minimum number of samples; with fewer, agreement is too noisy."""


@dataclass(frozen=True, slots=True)
class ReadingResult:
    """The comparison of the quantized model, evaluated in one mode, with the float model."""

    outputs: tuple[OutputError, ...]
    classes: tuple[Classification, ...]
    channels: tuple[ChannelErrors | None, ...] = ()
    """Of each output, where it has channels."""


def _is_nan_in_float(error: OutputError) -> bool:
    return 0 < error.nan_in_float == error.nonfinite


def _is_judged_by_equality(error: OutputError, chosen: set[str]) -> bool:
    """Whether ``error`` is of numbers that name something, where the size of a difference says
    nothing: classes, which are judged by agreement, and integers of which most are equal."""
    if error.equal is None:
        return False
    return error.name in chosen or error.equal >= COLLAPSE_AGREEMENT


def uncompared(reading: ReadingResult) -> tuple[str, ...]:
    """The outputs that had another shape than in float in every run: decoders that stop elsewhere,
    detectors that find another number.  None of their values could be compared."""
    return tuple(e.name for e in reading.outputs if _is_uncompared(e))


def _is_uncompared(error: OutputError) -> bool:
    return 0 < error.runs == error.resized


def signs_of_collapse(reading: ReadingResult) -> Iterable[str]:
    """The outputs and channels of ``reading`` that no longer resemble the float model's, each in a
    sentence."""
    channels = reading.channels or (None,) * len(reading.outputs)
    chosen = {v.output for v in reading.classes}
    for error, parts in zip(reading.outputs, channels, strict=True):
        unknown = error.sqnr_db == -math.inf and _is_nan_in_float(error)
        if error.quiet or unknown or _is_uncompared(error) or _is_judged_by_equality(error, chosen):
            continue  # near 0 throughout, never of one shape, or NaN in float already
        if error.sqnr_db < COLLAPSE_DB:
            yield f"output {error.name!r} has an SQNR of {error.sqnr_db:.1f} dB"
        elif parts is not None and parts.lost:
            yield (
                f"output {error.name!r} has lost {parts.lost} of {parts.judged} channels: channel "
                f"{parts.worst} of axis {parts.axis} has an SQNR of {parts.sqnr_db:.1f} dB"
            )
    for votes in reading.classes:
        if votes.samples >= ENOUGH_VOTES and votes.agreement < COLLAPSE_AGREEMENT:
            yield (
                f"output {votes.output!r} agrees with the float model's top-1 on "
                f"{votes.agreement:.0f} % of {votes.samples} {votes.unit}"
            )
