"""Float model against quantized model, in onnxruntime: errors, accuracy, kernels, latency.

Everything streams: one batch through the float model and through both readings of the quantized
one (:mod:`oq.session`: deployed and literal), folded into running sums.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from oq.deviation import Classification, OutputError, Sums, Votes, is_classifier
from oq.errors import DataError
from oq.layers import LayerError
from oq.metrics import Figure, Score
from oq.ops import FLOAT_KERNELS, INTEGER_KERNELS
from oq.session import Session, Settings, optimized_ops
from oq.spec import Array, Batch

LATENCY_SECONDS = 1.0
DIFFER_DB = 3.0
"""Decibels.  Rounding in integer kernels stays 4 or more below quantization's own error; a removed
Q/DQ pair (onnxruntime's double-QDQ remover) is an error of the same size as one pair makes."""

LATENCY_RUNS = (10, 200)

COLLAPSE_DB = 3.0
"""Decibels: at 0 the error of an output is as large as the output."""

COLLAPSE_AGREEMENT = 50.0
"""Percent of samples whose top-1 is still the float model's."""

ENOUGH_VOTES = 8
"""Samples: with fewer, agreement is chance."""


@dataclass(frozen=True, slots=True)
class ReadingResult:
    """What one reading of the quantized model gives, against the float model."""

    outputs: tuple[OutputError, ...]
    classes: tuple[Classification, ...]


@dataclass(frozen=True, slots=True)
class Kernels:
    """Compute nodes in onnxruntime's optimized graph, by whether they work on integers."""

    integer: int
    floating: int
    ops: Mapping[str, int]

    @property
    def share(self) -> float:
        """Integer kernels in percent of all compute nodes (100 when there is none)."""
        total = self.integer + self.floating
        return 100.0 * self.integer / total if total else 100.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Median milliseconds per batch of ``batch`` samples, the two models run in turn."""

    batch: int
    float_ms: float
    quantized_ms: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything measured.  ``gap``: deployed against literal reading, per output."""

    samples: int
    deployed: ReadingResult
    literal: ReadingResult
    gap: tuple[OutputError, ...]
    kernels: Kernels
    latency: Latency | None
    scores: tuple[Score, ...] = ()
    layers: tuple[LayerError, ...] = ()

    @property
    def collapse(self) -> tuple[str, ...]:
        """What says that the quantized model no longer does its job; empty when it does.

        An output's SQNR below :data:`COLLAPSE_DB`, or agreement with the float model's top-1 below
        :data:`COLLAPSE_AGREEMENT` on :data:`ENOUGH_VOTES` samples or more, in either reading.
        """
        said: dict[str, list[str]] = {}
        for name, reading in (("deployed", self.deployed), ("literal", self.literal)):
            for text in _collapses(reading):
                said.setdefault(text, []).append(name)
        return tuple(f"{text} ({', '.join(names)})" for text, names in said.items())

    @property
    def readings_differ(self) -> bool:
        """Whether fusion changes some output by half of quantization's own error power or more."""
        return any(
            g.sqnr_db < error.sqnr_db + DIFFER_DB
            for g, error in zip(self.gap, self.literal.outputs, strict=True)
        )


def compare(
    float_model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    batches: Iterable[Batch],
    *,
    settings: Settings | None = None,
    latency: bool = True,
    progress: Callable[[int], None] | None = None,
    figures: Sequence[Figure] = (),
) -> Verification:
    """Run both models over ``batches`` and compare their outputs, by ``figures`` too.

    Raises:
        DataError: there are no samples.
    """
    reference = Session(float_model, settings)
    names = [o.name for o in reference.outputs]
    readings = {
        "deployed": Session(quantized, settings),
        "literal": Session(quantized, Settings(reading="literal")),
    }
    pairs = ("deployed", "literal", "gap")
    sums = {p: [Sums() for _ in names] for p in pairs}
    votes: dict[tuple[str, int], Votes] = {}
    counts = {(f, r): f.start() for f in figures for r in readings}
    done, sample = 0, None
    for batch in batches:
        exact = reference.run(batch.feeds, names)
        found = {r: s.run(batch.feeds, names) for r, s in readings.items()}
        for i, values in enumerate(exact):
            for reading, results in found.items():
                sums[reading][i].add(values, results[i])
                if is_classifier(values):
                    votes.setdefault((reading, i), Votes()).add(values, results[i], batch.labels)
            sums["gap"][i].add(found["literal"][i], found["deployed"][i])
        for (_, reading), count in counts.items():
            mine = dict(zip(names, found[reading], strict=True))
            count.update(dict(zip(names, exact, strict=True)), mine, batch.labels)
        done += len(next(iter(batch.feeds.values())))
        sample = batch if sample is None else sample
        if progress is not None:
            progress(done)
    if sample is None:
        raise DataError("there are no samples to verify on")

    def result(name: str) -> ReadingResult:
        errors = tuple(s.result(n) for s, n in zip(sums[name], names, strict=True))
        classes = tuple(v.result(names[i]) for (r, i), v in votes.items() if r == name)
        return ReadingResult(errors, classes)

    return Verification(
        samples=done,
        deployed=result("deployed"),
        literal=result("literal"),
        gap=tuple(s.result(n) for s, n in zip(sums["gap"], names, strict=True)),
        kernels=count_kernels(quantized),
        latency=measure_latency(float_model, quantized, sample.feeds) if latency else None,
        scores=tuple(figure.score(count, r) for (figure, r), count in counts.items()),
    )


def _collapses(reading: ReadingResult) -> Iterable[str]:
    for error in reading.outputs:
        if error.sqnr_db < COLLAPSE_DB:
            yield f"output {error.name!r} has an SQNR of {error.sqnr_db:.1f} dB"
    for votes in reading.classes:
        if votes.samples >= ENOUGH_VOTES and votes.agreement < COLLAPSE_AGREEMENT:
            yield (
                f"output {votes.output!r} agrees with the float model's top-1 on "
                f"{votes.agreement:.0f} % of {votes.samples} samples"
            )


def count_kernels(model: onnx.ModelProto) -> Kernels:
    """What onnxruntime's optimized graph computes in integers, and what in float."""
    ops = optimized_ops(model)
    integer = sum(n for op, n in ops.items() if op in INTEGER_KERNELS)
    floating = sum(n for op, n in ops.items() if op in FLOAT_KERNELS)
    return Kernels(integer, floating, dict(sorted(ops.items())))


def measure_latency(
    float_model: onnx.ModelProto, quantized: onnx.ModelProto, feeds: Mapping[str, Array]
) -> Latency:
    """Both models in turn on one batch, threads not spinning (two spinning sessions in one
    process would slow each other down)."""
    sessions = [Session(m, Settings(spin=False)) for m in (float_model, quantized)]
    times: tuple[list[float], list[float]] = ([], [])
    for session in sessions:
        session.run(feeds)
    start = time.perf_counter()
    while not _enough(times[0], time.perf_counter() - start):
        for session, record in zip(sessions, times, strict=True):
            before = time.perf_counter()
            session.run(feeds)
            record.append((time.perf_counter() - before) * 1e3)
    ratios = [b / a for a, b in zip(*times, strict=True)]
    batch = len(next(iter(feeds.values())))
    return Latency(batch, _median(times[0]), _median(times[1]), _median(ratios))


def _enough(runs: Sequence[float], seconds: float) -> bool:
    least, most = LATENCY_RUNS
    return len(runs) >= most or (len(runs) >= least and seconds > LATENCY_SECONDS)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
