"""Metrics by name: built in, or a callable of the user.

A metric sees both models' outputs of every batch and returns one number, or the pair (float model,
quantized model) if it measures each model separately:

    def metric(float_outputs, quantized_outputs, labels):    # per batch; the mean is reported
        return number                                        # or (number, number)

    class Metric:                                            # if it is not a mean over batches
        def update(self, float_outputs, quantized_outputs, labels): ...
        def value(self): return number                       # or (number, number)

``float_outputs`` and ``quantized_outputs`` map output names to arrays with axes (sample, ...);
``labels`` is an array (sample, ...) or None.  Larger is better.  Batches are weighted by their
number of samples.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from oq.comparison.detections import BoxAgreement
from oq.comparison.deviation import Classification, Sums, Votes, is_classifier
from oq.errors import DataError, OptionError
from oq.imports import current_folder_importable
from oq.numerics.values import Array

Outputs = Mapping[str, Array]
Value = float | tuple[float, float]


class Metric(Protocol):
    """A metric: it is updated with every batch and then has a value."""

    def update(self, exact: Outputs, found: Outputs, labels: Array | None) -> None:
        """Add one batch: the float model's outputs, the quantized model's, and the labels."""

    def value(self) -> Value:
        """The number for all batches so far, or the pair (float model, quantized model)."""


@dataclass(frozen=True, slots=True)
class Score:
    """The value of metric ``metric`` for the quantized model in one mode.

    ``exact``: the float model's value, None if the metric only compares the two.
    """

    metric: str
    reading: str
    value: float
    exact: float | None = None

    @property
    def drop(self) -> float | None:
        """The float model's value minus the quantized model's."""
        return None if self.exact is None else self.exact - self.value


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric by name, with a function that creates a fresh instance."""

    name: str
    start: Callable[[], Metric]

    def score(self, metric: Metric, reading: str) -> Score:
        """The value of ``metric``, which :attr:`start` made.

        Raises:
            OptionError: the value is neither a number nor a pair of numbers.
        """
        exact, value = _as_pair(metric.value(), self.name)
        return Score(self.name, reading, value, exact)


def open_metric(name: str) -> Figure:
    """The metric called ``name``: one of :data:`BUILT_IN`, or ``package.module:callable``.

    A class is instantiated without arguments; a function is averaged over batches.

    Raises:
        OptionError: there is no such metric, or it can be neither called nor updated.
    """
    if name in BUILT_IN:
        return Figure(name, BUILT_IN[name])
    module, colon, attribute = name.partition(":")
    if not colon:
        raise OptionError(
            f"--metric {name!r}: expected {', '.join(BUILT_IN)} or package.module:callable"
        )
    found = _import(module, attribute, name)
    if isinstance(found, type):
        if not (hasattr(found, "update") and hasattr(found, "value")):
            raise OptionError(f"--metric {name!r}: class {attribute} needs update() and value()")
        return Figure(name, cast(Callable[[], Metric], found))
    if not callable(found):
        raise OptionError(
            f"--metric {name!r} is a {type(found).__name__}; expected a function or a class"
        )
    return Figure(name, lambda: _Mean(name, cast(Callable[..., Any], found)))


def open_metrics(names: Sequence[str], *, against: bool) -> list[Figure]:
    """The metrics called ``names``; ``against``: with the float model's values, for a drop."""
    found = [open_metric(name) for name in names]
    return [paired(figure) for figure in found] if against else found


def paired(figure: Figure) -> Figure:
    """``figure`` with a value for the float model too: its own, or that of the float model compared
    with itself, if it is finite, from which a drop is measured."""
    return Figure(figure.name, lambda: _Paired(figure.name, figure.start(), figure.start()))


@dataclass(slots=True)
class _Paired:
    """A metric, and the same of a perfect copy of the float model."""

    name: str
    metric: Metric
    perfect: Metric

    def update(self, exact: Outputs, found: Outputs, labels: Array | None) -> None:
        self.metric.update(exact, found, labels)
        self.perfect.update(exact, exact, labels)

    def value(self) -> Value:
        exact, value = _as_pair(self.metric.value(), self.name)
        best = _as_pair(self.perfect.value(), self.name)[1] if exact is None else exact
        return (best, value) if math.isfinite(best) else value


def _import(module: str, attribute: str, name: str) -> object:
    """The object, from a module that may lie in the working directory."""
    try:
        with current_folder_importable():
            found: object = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"--metric {name!r}: {error}") from error
    return found


@dataclass(slots=True)
class _Mean:
    """The mean over samples of what a function says of each batch."""

    name: str
    function: Callable[..., Any]
    totals: Array = field(default_factory=lambda: np.zeros(2))
    alone: bool = True
    samples: int = 0

    def update(self, exact: Outputs, found: Outputs, labels: Array | None) -> None:
        first, second = _as_pair(self.function(exact, found, labels), self.name)
        count = len(next(iter(exact.values())))
        self.alone = first is None
        self.totals += count * np.array([0.0 if first is None else first, second])
        self.samples += count

    def value(self) -> Value:
        exact, found = (float(t) for t in self.totals / max(self.samples, 1))
        return found if self.alone else (exact, found)


def _as_pair(value: Any, name: str) -> tuple[float | None, float]:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.size not in (1, 2):
        raise OptionError(
            f"--metric {name!r} gave {value!r}; expected a number, or the pair (float model, "
            "quantized model)"
        )
    numbers = [float(n) for n in array.reshape(-1)]
    return (None, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


# -- built in --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Top:
    """Accuracy in percent against labels; without them, agreement with the float model."""

    five: bool
    votes: Votes = field(default_factory=Votes)

    def update(self, exact: Outputs, found: Outputs, labels: Array | None) -> None:
        name = next((n for n, v in exact.items() if is_classifier(v) or _names_class(v)), None)
        if name is None:
            raise DataError(
                "--metric top1, top5: no output has axes (sample, class), or an integer per sample"
            )
        if not is_classifier(exact[name]):
            if self.five:
                raise DataError(f"--metric top5: {name!r} holds one class per sample, not five")
            self.votes.axis = None
        self.votes.add(exact[name], found[name], labels)

    def value(self) -> Value:
        counted: Classification = self.votes.result("")
        if self.five:
            exact, found, agree = counted.top5_float, counted.top5, counted.agreement5
        else:
            exact, found, agree = counted.top1_float, counted.top1, counted.agreement
        return agree if exact is None or found is None else (exact, found)


def _names_class(values: Array) -> bool:
    """Whether ``values`` are one integer per sample, the class that an ArgMax has chosen."""
    return values.dtype.kind in "iu" and values.ndim > 0 and values.size == len(values)


@dataclass(slots=True)
class _Likeness:
    """Cosine or SQNR in dB of all outputs, that of the worst one."""

    decibels: bool
    sums: dict[str, Sums] = field(default_factory=dict)

    def update(self, exact: Outputs, found: Outputs, labels: Array | None) -> None:
        for name, values in exact.items():
            self.sums.setdefault(name, Sums()).add(values, found[name])

    def value(self) -> Value:
        results = [s.result(n) for n, s in self.sums.items()]
        return min(r.sqnr_db if self.decibels else r.cosine for r in results)


@dataclass(slots=True)
class _Embedding:
    """The mean over samples of ``100 cos(float, quantized)``, that of the worst output.

    An output of one sample is one vector; zero vectors are alike if both are zero.
    """

    sums: dict[str, float] = field(default_factory=dict)
    samples: int = 0

    def update(self, exact: Outputs, found: Outputs, labels: Array | None) -> None:
        for name, values in exact.items():
            if values.dtype.kind != "f" or values.ndim < 2:
                continue
            first, second = (
                v.reshape(len(v), -1).astype(np.float64) for v in (values, found[name])
            )
            lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
            nothing = ~first.any(axis=1) & ~second.any(axis=1)
            products = (first * second).sum(axis=1)
            cosines: Array = np.where(nothing, 1.0, 0.0)
            np.divide(products, lengths, out=cosines, where=lengths > 0)
            self.sums[name] = self.sums.get(name, 0.0) + float(cosines.sum())
        if not self.sums:
            raise DataError("--metric embedding: no output has axes (sample, value)")
        self.samples += len(next(iter(exact.values())))

    def value(self) -> Value:
        return 100.0 * min(self.sums.values()) / self.samples


@dataclass(slots=True)
class _Text:
    """The share of samples in percent whose text is the same to the last letter.

    Scores with axes (sample, position, class) are read greedily: the best class of each position,
    repeats merged, class 0 (blank) left out (connectionist temporal classification, Graves et al.
    2006); integers (sample, position) are the text.  Labels (sample, position), filled up with
    numbers below 1, are the text that both models should have read.
    """

    right: Array = field(default_factory=lambda: np.zeros(2, np.int64))
    same: int = 0
    samples: int = 0
    labelled: bool = False

    def update(self, exact: Outputs, found: Outputs, labels: Array | None) -> None:
        name = next((n for n, v in exact.items() if _is_text(v)), None)
        if name is None:
            raise DataError(
                "--metric text: no output has axes (sample, position, class), or integers (sample, "
                "position)"
            )
        first, second = (_read(side[name]) for side in (exact, found))
        self.same += sum(a == b for a, b in zip(first, second, strict=True))
        self.samples += len(first)
        if labels is not None and labels.ndim == 2:
            self.labelled = True
            wanted = [row[row >= 1].tolist() for row in labels]
            self.right += [
                sum(a == b for a, b in zip(side, wanted, strict=True)) for side in (first, second)
            ]

    def value(self) -> Value:
        if self.labelled:
            exact, found = (100.0 * float(n) / self.samples for n in self.right)
            return exact, found
        return 100.0 * self.same / self.samples


def _is_text(values: Array) -> bool:
    return values.ndim == 3 if values.dtype.kind == "f" else values.ndim == 2


def _read(values: Array) -> list[list[int]]:
    """The text of each sample, as numbers of classes."""
    if values.dtype.kind != "f":
        return [[int(c) for c in row] for row in values]
    best = values.argmax(axis=-1)
    new = np.concatenate([np.ones((len(best), 1), bool), best[:, 1:] != best[:, :-1]], axis=1)
    return [row[keep & (row != 0)].tolist() for row, keep in zip(best, new, strict=True)]


VOID = 255
"""The label of pixels that are not counted (PASCAL VOC), where a model does not say how many
classes it has."""


def _named(values: Array) -> bool:
    """Whether all of ``values`` can be classes."""
    return values.dtype.kind in "iu" and bool((values >= 0).all())


@dataclass(slots=True)
class MeanIou:
    """Mean intersection over union in percent, over the classes that occur.

    ``IoU_c = |predicted c and labelled c| / |predicted c or labelled c|``, counted over all pixels
    of all samples (Everingham et al. 2010, the PASCAL VOC challenge).  The output has axes
    (sample, class, height, width, ...), the labels (sample, height, width, ...); labels outside the
    classes, such as VOC's 255, are ignored.  An output of integers (sample, height, width, ...) is
    the prediction itself, of classes 0 to 254 at least.  Without labels of that shape the float
    model's own prediction stands in for them.
    """

    hits: dict[str, Array] = field(default_factory=dict)
    labelled: bool = False

    def update(self, exact: Outputs, found: Outputs, labels: Array | None) -> None:
        maps = [n for n, v in exact.items() if v.ndim >= 3 and (v.dtype.kind == "f" or _named(v))]
        name = min(maps, key=lambda n: exact[n].dtype.kind != "f", default=None)
        if name is None:
            raise DataError(
                "--metric miou: no output has axes (sample, class, height, width), or integers "
                "(sample, height, width)"
            )
        reference, mine = exact[name], found[name]
        if reference.dtype.kind == "f":
            classes = reference.shape[1]
            reference, mine = reference.argmax(axis=1), mine.argmax(axis=1)
        else:
            mine = np.maximum(mine, 0)
            classes = max(VOID, *(int(v.max(initial=0)) + 1 for v in (reference, mine)))
        self.labelled = labels is not None and labels.shape == reference.shape
        wanted = labels if labels is not None and self.labelled else reference
        self._count("float", reference, wanted, classes)
        self._count("quantized", mine, wanted, classes)

    def _count(self, side: str, predicted: Array, wanted: Array, classes: int) -> None:
        before = self.hits.get(side, np.zeros((2, 0), np.int64))
        counts = np.zeros((2, max(classes, before.shape[1])), np.int64)
        counts[:, : before.shape[1]] = before
        self.hits[side], classes = counts, counts.shape[1]
        usable = (wanted >= 0) & (wanted < classes)
        p, w = (v[usable].astype(np.int64) for v in (predicted, wanted))
        both = np.bincount(p[p == w], minlength=classes)
        counts[0] += both
        counts[1] += np.bincount(p, minlength=classes) + np.bincount(w, minlength=classes) - both

    def value(self) -> Value:
        exact, found = (_mean_ratio(self.hits[s]) for s in ("float", "quantized"))
        return (exact, found) if self.labelled else found


def _mean_ratio(counts: Array) -> float:
    both, either = counts
    occurs = either > 0
    return float(100.0 * (both[occurs] / either[occurs]).mean()) if occurs.any() else 0.0


BUILT_IN: Mapping[str, Callable[[], Metric]] = {
    "top1": lambda: _Top(five=False),
    "top5": lambda: _Top(five=True),
    "cosine": lambda: _Likeness(decibels=False),
    "sqnr": lambda: _Likeness(decibels=True),
    "miou": MeanIou,
    "boxes": BoxAgreement,
    "text": _Text,
    "embedding": _Embedding,
}
"""sqnr in dB, cosine up to 1, the others in percent."""
