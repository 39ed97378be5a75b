"""Float model against quantized model: errors, accuracy, kernels, latency.

Everything streams: one batch through the float model and through both readings of the quantized
one, folded into running sums.  The literal reading (:mod:`oq.session`) and the float reference are
onnxruntime's; the deployed reading, the kernels and the latency are those of an engine
(:mod:`oq.engine`).
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from oq.engine import DEFAULT, Engine, Kernels, Loaded, find_engine
from oq.errors import DataError
from oq.session import Session, Settings
from oq.spec import Array, Batch

LATENCY_SECONDS = 1.0
DIFFER_DB = 3.0
"""Decibels.  Rounding in integer kernels stays 4 or more below quantization's own error; a removed
Q/DQ pair (onnxruntime's double-QDQ remover) is an error of the same size as one pair makes."""

ROUNDING_DB = 100.0
"""Decibels.  Sums of float32 in another order stay 120 or more below the signal, and no grid of 16
bits or less comes near that."""

COLLAPSED_DB, COLLAPSED_AGREEMENT = 3.0, 50.0
"""Decibels and percent below which a model is not worth shipping, whatever it is for."""

LATENCY_RUNS = (10, 200)


@dataclass(frozen=True, slots=True)
class OutputError:
    """How far one output is from a reference, over all samples.

    ``max_abs``, ``mean_abs``: absolute error in the output's unit.  ``sqnr_db``: signal over
    noise, ``10 log10(sum x^2 / sum (x - y)^2)`` (inf when equal).  ``cosine``: of both outputs as
    one long vector.  ``nonfinite``: values that are NaN or infinite on either side, left out of
    the rest.
    """

    name: str
    max_abs: float
    mean_abs: float
    sqnr_db: float
    cosine: float
    nonfinite: int


@dataclass(frozen=True, slots=True)
class Classification:
    """For an output with axes (sample, class).  Shares in percent; accuracies need labels.

    ``agreement``: samples whose largest class is that of the float model.  ``agreement5``: samples
    whose float top-1 is among the five largest.
    """

    output: str
    samples: int
    agreement: float
    agreement5: float
    top1_float: float | None = None
    top1: float | None = None
    top5_float: float | None = None
    top5: float | None = None


@dataclass(frozen=True, slots=True)
class ReadingResult:
    """What one reading of the quantized model gives, against the float model."""

    outputs: tuple[OutputError, ...]
    classes: tuple[Classification, ...]


@dataclass(frozen=True, slots=True)
class Latency:
    """Median milliseconds per batch of ``batch`` samples, the two models run in turn."""

    batch: int
    float_ms: float
    quantized_ms: float
    ratio: float


@dataclass(frozen=True, slots=True)
class CodeGap:
    """An output that ends in codes: of ``values``, how many differ between the engine and the
    literal reading by a step or more, and by how many steps at most."""

    name: str
    values: int
    differing: int
    largest: int


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything measured.  ``gap``: deployed against literal reading, per output.  ``engine``:
    what the deployed reading, the kernels and the latency are from.  ``codes``: the same gap in
    steps, where the engine counts them.  ``simulated``: the engine computes as a device that is not
    here."""

    samples: int
    deployed: ReadingResult
    literal: ReadingResult
    gap: tuple[OutputError, ...]
    kernels: Kernels
    latency: Latency | None
    engine: str = DEFAULT
    codes: tuple[CodeGap, ...] = ()
    simulated: bool = False

    @property
    def readings_differ(self) -> bool:
        """Whether fusion changes some output by half of quantization's own error power or more."""
        return any(
            g.sqnr_db < min(error.sqnr_db + DIFFER_DB, ROUNDING_DB)
            for g, error in zip(self.gap, self.literal.outputs, strict=True)
        )

    @property
    def drop(self) -> float | None:
        """The largest loss of top-1 in points, over outputs and both readings; None without
        labels."""
        votes = [v for r in (self.deployed, self.literal) for v in r.classes]
        drops = [
            v.top1_float - v.top1 for v in votes if v.top1 is not None and v.top1_float is not None
        ]
        return max(drops, default=None)

    @property
    def collapsed(self) -> bool:
        """Whether some output says little of the float model's: noise of half the signal's power
        and more, or a class that is another on most samples."""
        readings = (self.deployed, self.literal)
        return any(
            min((o.sqnr_db for o in r.outputs), default=math.inf) < COLLAPSED_DB
            or min((c.agreement for c in r.classes), default=100.0) < COLLAPSED_AGREEMENT
            for r in readings
        )


@dataclass(slots=True)
class _Sums:
    """Running sums of one output's comparison, in float64."""

    signal: float = 0.0
    noise: float = 0.0
    other: float = 0.0
    dot: float = 0.0
    total_abs: float = 0.0
    max_abs: float = 0.0
    count: int = 0
    nonfinite: int = 0

    def add(self, reference: Array, found: Array) -> None:
        x = reference.astype(np.float64).reshape(-1)
        y = found.astype(np.float64).reshape(-1)
        usable = np.isfinite(y) & np.isfinite(x)
        self.nonfinite += int(np.count_nonzero(~usable))
        x, y = x[usable], y[usable]
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
        return OutputError(name, self.max_abs, mean, db, min(1.0, cosine), self.nonfinite)


def sqnr_db(signal: float, noise: float) -> float:
    """``10 log10(signal / noise)``; inf without noise, -inf without signal."""
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")


@dataclass(slots=True)
class _Votes:
    """Running counts of one classifier output: samples, and how many each test holds for."""

    samples: int = 0
    labelled: int = 0
    hits: dict[str, int] = field(default_factory=dict)

    def add(self, reference: Array, found: Array, labels: Array | None) -> None:
        mine, theirs = _top5(found), _top5(reference)
        self.samples += len(mine)
        self._count("agreement", mine[:, 0] == theirs[:, 0])
        self._count("agreement5", (mine == theirs[:, :1]).any(axis=1))
        if labels is None:
            return
        self.labelled += len(labels)
        wanted = np.asarray(labels).reshape(-1, 1)
        for suffix, top in (("", mine), ("_float", theirs)):
            self._count(f"top1{suffix}", (top[:, :1] == wanted).any(axis=1))
            self._count(f"top5{suffix}", (top == wanted).any(axis=1))

    def _count(self, test: str, holds: Array) -> None:
        self.hits[test] = self.hits.get(test, 0) + int(np.count_nonzero(holds))

    def result(self, name: str) -> Classification:
        def percent(test: str, of: int) -> float | None:
            return 100.0 * self.hits.get(test, 0) / of if of else None

        return Classification(
            name,
            self.samples,
            percent("agreement", self.samples) or 0.0,
            percent("agreement5", self.samples) or 0.0,
            **{t: percent(t, self.labelled) for t in ("top1_float", "top1", "top5_float", "top5")},
        )


@dataclass(slots=True)
class _Steps:
    """Running counts of codes that differ."""

    values: int = 0
    differing: int = 0
    largest: int = 0

    def add(self, first: Array, second: Array, step: float) -> None:
        apart = np.rint(np.abs(first.astype(np.float64) - second) / step)
        self.values += apart.size
        self.differing += int(np.count_nonzero(apart))
        self.largest = max(self.largest, int(apart.max(initial=0)))

    def result(self, name: str) -> CodeGap:
        return CodeGap(name, self.values, self.differing, self.largest)


def _top5(scores: Array) -> Array:
    """Indices of the five largest classes per sample, largest first; ties to the lower index."""
    flat = scores.reshape(len(scores), -1)
    return np.argsort(-flat, axis=1, kind="stable")[:, :5]


def is_classifier(values: Array) -> bool:
    """Real scores, axes (sample, class), at least two classes, any further axes of length 1."""
    if values.ndim < 2 or values.dtype.kind != "f":
        return False
    return values.shape[1] >= 2 and math.prod(values.shape[2:]) == 1


def compare(
    float_model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    batches: Iterable[Batch],
    *,
    settings: Settings | None = None,
    engine: str = DEFAULT,
    latency: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Run both models over ``batches`` and compare their outputs.

    Raises:
        OqError: there are no samples, no such ``engine``, or it is not installed.
    """
    runner = find_engine(engine)
    timed = latency and runner.timed
    settings = Settings() if settings is None else settings
    deployed = runner.load(quantized, settings)
    reference = Session(float_model, settings)
    names = [o.name for o in reference.outputs]
    literal = Session(quantized, Settings(reading="literal"))
    readings: dict[str, Loaded] = {"deployed": deployed, "literal": literal}
    sums = {p: [_Sums() for _ in names] for p in (*readings, "gap")}
    votes: dict[tuple[str, int], _Votes] = {}
    codes: dict[str, _Steps] = {}
    done, sample = 0, None
    for batch in batches:
        exact = reference.run(batch.feeds, names)
        found = {r: s.run(batch.feeds, names) for r, s in readings.items()}
        for i, values in enumerate(exact):
            for reading, results in found.items():
                sums[reading][i].add(values, results[i])
                if is_classifier(values):
                    votes.setdefault((reading, i), _Votes()).add(values, results[i], batch.labels)
            sums["gap"][i].add(found["literal"][i], found["deployed"][i])
        _count_codes(codes, runner.steps(deployed), names, found)
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
        kernels=runner.count_kernels(quantized, deployed),
        latency=measure_latency(float_model, quantized, sample.feeds, runner) if timed else None,
        engine=engine,
        codes=tuple(c.result(n) for n, c in codes.items()),
        simulated=not runner.timed,
    )


def _count_codes(
    counters: dict[str, _Steps],
    steps: Mapping[str, float],
    names: Sequence[str],
    found: Mapping[str, Sequence[Array]],
) -> None:
    """Add one batch's codes to the counters of the outputs whose ``steps`` are known."""
    for name, step in steps.items():
        i = names.index(name)
        counter = counters.setdefault(name, _Steps())
        counter.add(found["deployed"][i], found["literal"][i], step)


def measure_latency(
    float_model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    feeds: Mapping[str, Array],
    engine: Engine | None = None,
) -> Latency:
    """Both models in turn on one batch in ``engine``, threads not spinning (two spinning sessions
    in one process would slow each other down)."""
    load = (find_engine(DEFAULT) if engine is None else engine).load
    sessions = [load(m, Settings(spin=False)) for m in (float_model, quantized)]
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
