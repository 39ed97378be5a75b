"""Output errors as running sums: absolute error, cosine, SQNR, top-1 and top-5.

Sums are float64 and take one batch at a time, so memory does not depend on the number of samples.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from oq.numerics.values import Array

PRESENT = 0.1
"""A score below says that nothing was found, in the float model as in the quantized one."""

FIVE = 5


@dataclass(frozen=True, slots=True)
class OutputError:
    """The error of one output against a reference, over all samples.

    ``max_abs``, ``mean_abs``: absolute error in the output's unit. ``sqnr_db``: signal over noise,
    ``10 log10(sum x^2 / sum (x - y)^2)`` (inf when equal). ``cosine``: of both outputs as one long
    vector. ``nonfinite``: the number of values that are NaN or infinite in either, which are
    excluded from the other figures. ``resized``: the number of batches, of ``runs`` in all, in
    which both differ in shape (as many boxes as NonMaxSuppression leaves), which are excluded too.
    ``nan_in_float``: those of ``nonfinite`` that are the float model's own. ``quiet``: its values
    are 0 to :data:`PRESENT` and no error is as large, so that the SQNR says little (a map of
    probabilities of what no sample shows). ``equal``: of integers and booleans, the percentage of
    values that are the same.
    """

    name: str
    max_abs: float
    mean_abs: float
    sqnr_db: float
    cosine: float
    nonfinite: int
    resized: int = 0
    runs: int = 0
    nan_in_float: int = 0
    quiet: bool = False
    equal: float | None = None


@dataclass(frozen=True, slots=True)
class Classification:
    """For an output with axes (sample, class), or one of classes chosen by an ArgMax, which have no
    second best.  Percentages; accuracies need labels.  Where the float model's scores are NaN there
    is not a class to agree with, and nothing is counted.

    ``agreement``: samples whose top-1 equals the float model's.  ``agreement5``: samples whose
    float top-1 is among the top 5.  ``positions``: the output has classes at each of several
    positions (tokens, frames, pixels) of a sample, and those are counted.
    """

    output: str
    samples: int
    agreement: float
    agreement5: float
    top1_float: float | None = None
    top1: float | None = None
    top5_float: float | None = None
    top5: float | None = None
    positions: bool = False

    @property
    def unit(self) -> str:
        """What ``samples`` counts."""
        return "positions" if self.positions else "samples"


@dataclass(slots=True)
class Sums:
    """Running sums of one output's comparison, in float64."""

    signal: float = 0.0
    noise: float = 0.0
    other: float = 0.0
    dot: float = 0.0
    total_abs: float = 0.0
    max_abs: float = 0.0
    count: int = 0
    nonfinite: int = 0
    resized: int = 0
    runs: int = 0
    nan_in_float: int = 0
    lo: float = math.inf
    hi: float = -math.inf
    same: int | None = None

    def add(self, reference: Array, found: Array) -> None:
        self.runs += 1
        if reference.shape != found.shape:
            self.resized += 1
            return
        if reference.dtype.kind in "biu":
            self.same = (self.same or 0) + int(np.count_nonzero(reference == found))
        x = reference.astype(np.float64).reshape(-1)
        y = found.astype(np.float64).reshape(-1)
        usable = np.isfinite(x)
        self.nan_in_float += int(np.count_nonzero(~usable))
        usable &= np.isfinite(y)
        self.nonfinite += int(np.count_nonzero(~usable))
        x, y = x[usable], y[usable]
        self.lo = min(self.lo, float(x.min(initial=math.inf)))
        self.hi = max(self.hi, float(x.max(initial=-math.inf)))
        error = x - y
        self.signal += float(x @ x)
        self.other += float(y @ y)
        self.dot += float(x @ y)
        self.noise += float(error @ error)
        self.total_abs += float(np.abs(error).sum())
        self.max_abs = max(self.max_abs, float(np.abs(error).max(initial=0.0)))
        self.count += x.size

    def result(self, name: str) -> OutputError:
        norms = np.sqrt(self.signal * self.other)
        cosine = self.dot / norms if norms > 0 else float(self.signal == self.other)
        mean = self.total_abs / self.count if self.count else 0.0
        db = sqnr_db(self.signal, self.noise)
        if (self.nonfinite or self.resized) and not self.count:  # nothing is left to compare
            db, cosine = float("-inf"), 0.0
        quiet = self.lo >= 0 and max(self.hi, self.max_abs) < PRESENT and self.nonfinite == 0
        return OutputError(
            *(name, self.max_abs, mean, db, min(1.0, cosine)),
            nonfinite=self.nonfinite,
            resized=self.resized,
            runs=self.runs,
            nan_in_float=self.nan_in_float,
            quiet=quiet and self.count > 0,
            equal=None if self.same is None or not self.count else 100 * self.same / self.count,
        )


@dataclass(slots=True)
class Noise:
    """Running sums of the power of a reference and of an error, in float64.

    Values that are not finite in the reference are ignored; values that are not finite only in the
    other count as infinite noise.  An array of another shape counts as lost: its noise is the
    signal.
    """

    signal: float = 0.0
    noise: float = 0.0

    def add(self, reference: Array, found: Array) -> None:
        x = reference.astype(np.float64).reshape(-1)
        y = found.astype(np.float64).reshape(-1) if reference.shape == found.shape else 0 * x
        usable = np.isfinite(x)
        if not usable.all():
            x, y = x[usable], y[usable]
        self.signal += power(x)
        self.noise += power(x - y) if np.isfinite(y).all() else math.inf

    @property
    def ratio(self) -> float:
        """Noise over signal; 0 without noise, inf without signal."""
        if self.noise == 0:
            return 0.0
        return self.noise / self.signal if self.signal > 0 else math.inf


def power(values: Array) -> float:
    """Sum of squares of the finite ``values``, in float64.

    einsum and not BLAS, whose order of summation depends on the number of threads.
    """
    flat = values.astype(np.float64, copy=False).reshape(-1)
    usable = np.isfinite(flat)
    finite = flat if usable.all() else flat[usable]
    return float(np.einsum("i,i->", finite, finite))


def error_power(reference: Array, found: Array) -> float:
    """:func:`power` of the error; an array of another shape counts as lost: the power of
    ``reference``."""
    if reference.shape != found.shape:
        return power(reference)
    return power(reference.astype(np.float64) - found)


def sqnr_db(signal: float, noise: float) -> float:
    """``10 log10(signal / noise)``; inf without noise, -inf without signal or with infinite
    noise."""
    if noise == 0:
        return math.inf
    return float(10 * np.log10(signal / noise)) if signal > 0 and noise < math.inf else -math.inf


@dataclass(slots=True)
class Votes:
    """Running counts for one classifier output, its classes along ``axis``; None: its values are
    classes.

    ``foreign``: how many labels are none of its ``classes``.
    """

    axis: int | None = 1
    samples: int = 0
    labelled: int = 0
    foreign: int = 0
    classes: int = 0
    positions: bool = False
    hits: dict[str, int] = field(default_factory=dict)

    def add(self, reference: Array, found: Array, labels: Array | None) -> None:
        if reference.shape != found.shape:
            return
        if self.axis is None:
            self._add_chosen(reference, found, labels)
            return
        mine, theirs = (_rows(scores, self.axis) for scores in (found, reference))
        self.positions |= len(mine) > len(found)
        known = ~np.isnan(np.moveaxis(reference, self.axis, -1)).any(axis=-1).reshape(-1)
        self.samples += int(np.count_nonzero(known))
        before = places(mine, _best(theirs))[known]
        self._count("agreement", before == 0)
        self._count("agreement5", before < FIVE)
        if labels is None or len(mine) != len(labels) or labels.ndim != 1:
            return  # labels per pixel are not classes of samples
        self.labelled += len(labels)
        self.classes = mine.shape[1]
        known = _as_classes(labels, self.classes)
        self.foreign += int(np.count_nonzero(known < 0))
        for suffix, scores in (("", mine), ("_float", theirs)):
            before = places(scores, known)
            self._count(f"top1{suffix}", before == 0)
            self._count(f"top5{suffix}", before < FIVE)

    def _add_chosen(self, reference: Array, found: Array, labels: Array | None) -> None:
        mine, theirs = found.reshape(-1), reference.reshape(-1)
        self.positions |= found.ndim > 0 and len(mine) > len(found)  # one class may have no axes
        self.samples += len(mine)
        for test in ("agreement", "agreement5"):
            self._count(test, mine == theirs)
        if labels is None or labels.shape != mine.shape:
            return
        self.labelled += len(labels)
        known = _as_classes(labels, np.iinfo(np.int64).max)
        self.foreign += int(np.count_nonzero(known < 0))
        self.classes = max(self.classes, int(theirs.max(initial=0)) + 1)
        self._count("top1", mine == known)
        self._count("top1_float", theirs == known)

    def _count(self, test: str, holds: Array) -> None:
        self.hits[test] = self.hits.get(test, 0) + int(np.count_nonzero(holds))

    def result(self, name: str) -> Classification:
        def percent(test: str, of: int) -> float | None:
            return 100.0 * self.hits[test] / of if of and test in self.hits else None

        return Classification(
            name,
            self.samples,
            percent("agreement", self.samples) or 0.0,
            percent("agreement5", self.samples) or 0.0,
            **{t: percent(t, self.labelled) for t in ("top1_float", "top1", "top5_float", "top5")},
            positions=self.positions,
        )


def _rows(scores: Array, axis: int) -> Array:
    """(..., classes, ...) to (row, class), NaN below every score."""
    last = np.moveaxis(scores, axis, -1)
    rows = last.reshape(math.prod(last.shape[:-1]), last.shape[-1])
    filled: Array = np.where(np.isnan(rows), -np.inf, rows)
    return filled


def _as_classes(labels: Array, count: int) -> Array:
    """``labels`` as integers, -1 for what is none of ``count`` classes: not a whole number from 0
    on."""
    if labels.dtype.kind not in "buif":
        return np.full(len(labels), -1)
    known = (labels >= 0) & (labels < count) & (labels == np.floor(labels))
    return np.where(known, labels, -1).astype(np.int64)


def _best(rows: Array) -> Array:
    return rows.argmax(axis=1) if len(rows) else np.zeros(0, np.int64)


def places(rows: Array, classes: Array) -> Array:
    """For each row, the number of classes that are ahead of the one in ``classes``: those of higher
    scores, and those before it of the same.  A class that the row has not is behind all."""
    count = rows.shape[1]
    inside = (classes >= 0) & (classes < count)
    index = np.where(inside, classes, 0).astype(np.int64)[:, None]
    score = np.take_along_axis(rows, index, axis=1)
    ahead = (rows > score) | ((rows == score) & (np.arange(count) < index))
    before: Array = np.where(inside, ahead.sum(axis=1), count)
    return before


def is_classifier(values: Array) -> bool:
    """Whether this is a float array (sample, class) with at least two classes and any further axes
    of length 1."""
    if values.ndim < 2 or values.dtype.kind != "f":
        return False
    return values.shape[1] >= 2 and math.prod(values.shape[2:]) == 1


@dataclass(frozen=True, slots=True)
class CodeGap:
    """A quantized output: the number of ``values``, how many differ between the engine and the
    literal mode by a step or more, and the largest difference in steps."""

    name: str
    values: int
    differing: int
    largest: int


@dataclass(slots=True)
class Steps:
    """Running counts of integer values that differ."""

    values: int = 0
    differing: int = 0
    largest: int = 0

    def add(self, first: Array, second: Array, step: float) -> None:
        """Count where two evaluations of an output differ by a ``step`` or more; not where they
        differ in shape."""
        if first.shape != second.shape:
            return
        apart = np.rint(np.abs(first.astype(np.float64) - second) / step)
        self.values += apart.size
        self.differing += int(np.count_nonzero(apart))
        self.largest = max(self.largest, int(apart.max(initial=0)))

    def result(self, name: str) -> CodeGap:
        """The counts of output ``name``."""
        return CodeGap(name, self.values, self.differing, self.largest)
