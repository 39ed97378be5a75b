"""Compares the outputs of a float model and a quantized one: errors, accuracy, kernels, latency.

Everything streams: each batch runs through the float model and, in both modes, through the
quantized one, and is added to running sums.  The literal mode (:mod:`oq.model.session`) and the
float reference are onnxruntime's; the deployed mode, the kernels and the latency are those of an
engine (:mod:`oq.engines.engine`).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import ClassVar, Literal

import numpy as np
import onnx

from oq.artifacts.artifact import Artifact
from oq.comparison.channels import ChannelSums
from oq.comparison.classes import class_axes, start_votes
from oq.comparison.collapse import COLLAPSE_DB, ReadingResult, signs_of_collapse
from oq.comparison.deviation import (
    CodeGap,
    OutputError,
    Steps,
    Sums,
    Votes,
)
from oq.comparison.device_file import artifact_engine
from oq.comparison.layers import LayerError
from oq.comparison.metrics import Figure, Metric, Score
from oq.comparison.runs import Apart, Pair, Ran
from oq.engines.engine import DEFAULT, Engine, Kernels, Loaded, find_engine
from oq.errors import DataError
from oq.model.noise import random_nodes
from oq.model.session import Session, Settings
from oq.numerics.values import Array, Batch
from oq.wording import Told, counted

LATENCY_SECONDS = 1.0
DIFFER_DB = 3.0
"""Decibels.  The rounding of integer kernels is 4 or more below the quantization error; a removed
Q/DQ pair (onnxruntime's double-QDQ remover) is an error as large as that of one pair."""

ROUNDING_DB = 100.0
"""Decibels.  Float32 sums in a different order are 120 or more below the signal; quantization to 16
bits or less is far above that."""

LATENCY_RUNS = (10, 200)

TOP1 = "top-1"
"""The metric that a drop is of, unless another was asked for."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Median milliseconds per batch of ``batch`` samples, with both models run alternately.

    ``ratio``: ``quantized_ms / float_ms``.  ``low``, ``high``: the quartiles of the ratios of
    neighbouring runs, with ``ratio`` between them.
    """

    batch: int
    float_ms: float
    quantized_ms: float
    ratio: float
    low: float
    high: float

    @property
    def noisy(self) -> bool:
        """Whether the runs do not tell which model is faster."""
        return self.low <= 1 <= self.high


Mode = Literal["deployed", "literal"]
"""How a quantized model is evaluated: as an engine runs it, or as its Q/DQ nodes say."""


@dataclass(frozen=True, slots=True, repr=False)
class Verification(Told):
    """All measurements.  ``gap``: deployed against literal mode, per output.  ``engine``: the
    engine of the deployed mode, the kernels and the latency.  ``codes``: the same gap in
    quantization steps, if the engine counts them.  ``simulated``: the engine simulates a device.
    ``random``: the nodes that draw at random, the same in both models (:mod:`oq.model.noise`).
    ``mode``: the one that the target means, from which single figures are taken; ``target``: as
    which the file was judged, "" for none; ``made_for``: the target in its metadata.  ``notes``:
    what the user should know of how the data were read.  ``limit``: ``max_drop``, None for none."""

    WORDS: ClassVar[str] = "oq.reporting.verdict:judged_lines"

    samples: int
    deployed: ReadingResult
    literal: ReadingResult
    gap: tuple[OutputError, ...]
    kernels: Kernels
    latency: Latency | None
    engine: str = DEFAULT
    scores: tuple[Score, ...] = ()
    layers: tuple[LayerError, ...] = ()
    codes: tuple[CodeGap, ...] = ()
    simulated: bool = False
    random: tuple[str, ...] = ()
    mode: Mode = "deployed"
    target: str = ""
    made_for: str = ""
    notes: tuple[str, ...] = ()
    limit: float | None = None

    def short(self) -> str:
        """Samples, and the output that differs most in the mode that counts."""
        worst = min(self.judged.outputs, key=lambda e: e.sqnr_db)
        agree = [f"top-1 agrees {v.agreement:.1f} %" for v in self.judged.classes[:1]]
        words = [f"{worst.name} {worst.sqnr_db:.1f} dB", *agree, *self.collapse[:1]]
        return f"{counted(self.samples, 'sample')}: {', '.join(words)}"

    @property
    def judged(self) -> ReadingResult:
        """The figures in the mode that the target means."""
        return self.deployed if self.mode == "deployed" else self.literal

    @property
    def largest_drop(self) -> tuple[str, float] | None:
        """What fell most in either mode: the metrics asked for that have a value for each model,
        else top-1 in points; None without either."""
        if self.scores:
            drops = [(s.metric, s.drop) for s in self.scores if s.drop is not None]
            return max(drops, key=lambda d: d[1], default=None)
        return None if self.drop is None else (TOP1, self.drop)

    @property
    def passed(self) -> bool:
        """Whether nothing fell by more than ``limit``, and the model has not collapsed."""
        lost = self.largest_drop
        return not self.collapse and (self.limit is None or lost is None or lost[1] <= self.limit)

    @property
    def collapse(self) -> tuple[str, ...]:
        """The signs that the quantized model has collapsed; empty if it has not.

        The SQNR of an output or of one of its channels below :data:`COLLAPSE_DB`, or agreement with
        the float model's top-1 below :data:`~oq.comparison.collapse.COLLAPSE_AGREEMENT` on
        :data:`~oq.comparison.collapse.ENOUGH_VOTES` samples or more, in either mode.
        """
        said: dict[str, list[str]] = {}
        for name, reading in (("deployed", self.deployed), ("literal", self.literal)):
            for text in signs_of_collapse(reading):
                said.setdefault(text, []).append(name)
        return tuple(f"{text} ({', '.join(names)})" for text, names in said.items())

    @property
    def read_once(self) -> bool:
        """Whether the quantized model is a device file, which has one mode, that of its reader
        (:mod:`oq.artifacts`): ``deployed`` and ``literal`` are the same."""
        return not self.gap

    @property
    def readings_differ(self) -> bool:
        """Whether the deployed mode differs from the literal one, in some output, by half of the
        quantization error's power or more."""
        return not self.read_once and any(
            g.sqnr_db < min(error.sqnr_db + DIFFER_DB, ROUNDING_DB)
            for g, error in zip(self.gap, self.literal.outputs, strict=True)
        )

    @property
    def drop(self) -> float | None:
        """The largest loss of top-1 in points, over outputs and both modes; None without labels."""
        votes = [v for r in (self.deployed, self.literal) for v in r.classes]
        drops = [
            v.top1_float - v.top1 for v in votes if v.top1 is not None and v.top1_float is not None
        ]
        return max(drops, default=None)


def compare(
    float_model: onnx.ModelProto,
    quantized: onnx.ModelProto | Artifact,
    batches: Iterable[Batch],
    *,
    settings: Settings | None = None,
    engine: str = DEFAULT,
    latency: bool = True,
    progress: Callable[[int], None] | None = None,
    figures: Sequence[Figure] = (),
    apart: Apart | None = None,
) -> Verification:
    """Run both models over ``batches`` and compare their outputs, also by the metrics ``figures``.

    With ``apart`` workers run them, and this process the first batch alone, for kernels and time.

    Raises:
        OqError: there are no samples, no outputs to compare, no such ``engine``, or it is not
            installed.
    """
    settings = Settings() if settings is None else settings
    runner, readings = _open(quantized, engine, settings)
    deployed, timed = readings["deployed"], latency and runner.timed
    reference = Session(float_model, settings)
    if not (names := reference.arrays):
        raise DataError("no output of the model is an array of numbers that could be compared")
    axes = class_axes(float_model)
    counts = _Counts(names, axes, {(f, r): f.start() for f in figures for r in readings})
    done, (sample, rest) = 0, _begun(batches)
    pair = Pair(reference, readings, names)
    runs: Iterable[Ran] = chain([pair.run(sample)], map(pair.run, rest))
    if apart is not None and isinstance(quantized, onnx.ModelProto):
        runs = apart.run(float_model, quantized, engine)
    for ran in runs:
        counts.add(ran.exact, ran.found, ran.labels)
        counts.add_codes(ran.found, runner.steps(deployed))
        done += ran.samples
        if progress is not None:
            progress(done)
    _check_labels(() if figures else counts.votes.values())
    file = float_model if isinstance(quantized, Artifact) else quantized
    literal = "literal" if "literal" in readings else "deployed"
    del reference, readings, pair, runs  # sessions keep memory, and others follow
    kernels = runner.count_kernels(file, deployed)
    del deployed
    return Verification(
        samples=done,
        deployed=counts.result("deployed"),
        literal=counts.result(literal),
        gap=counts.result("gap").outputs if literal == "literal" else (),
        kernels=kernels,
        latency=measure_latency(float_model, file, sample, runner) if timed else None,
        engine=runner.name,
        scores=tuple(figure.score(metric, r) for (figure, r), metric in counts.metrics.items()),
        codes=tuple(c.result(n) for n, c in counts.codes.items()),
        simulated=not runner.timed,
        random=random_nodes(float_model),
    )


def _begun(batches: Iterable[Batch]) -> tuple[Batch, Iterator[Batch]]:
    """The first of ``batches``, and the others."""
    rest = iter(batches)
    sample = next(rest, None)
    if sample is None:
        raise DataError("there are no samples to verify on")
    return sample, rest


def _open(
    quantized: onnx.ModelProto | Artifact, engine: str, settings: Settings
) -> tuple[Engine, dict[str, Loaded]]:
    """What runs the quantized model, and how it is read: a device file in one way only, its own."""
    if isinstance(quantized, Artifact):
        return artifact_engine(quantized), {"deployed": quantized}
    runner = find_engine(engine)
    literal = Session(quantized, Settings(reading="literal"))
    return runner, {"deployed": runner.load(quantized, settings), "literal": literal}


def _check_labels(votes: Iterable[Votes]) -> None:
    """Insist that some output has the classes that the labels name; a metric of the user's may take
    labels of another kind.

    Raises:
        DataError: they are classes of none.
    """
    labelled = [v for v in votes if v.labelled]
    if not labelled or any(v.foreign == 0 for v in labelled):
        return
    widest = max(labelled, key=lambda v: v.classes)
    raise DataError(
        f"{widest.foreign} of {widest.labelled} labels are not classes of the model, which has "
        f"{widest.classes}; expected whole numbers from 0 to {widest.classes - 1}"
    )


@dataclass(slots=True)
class _Counts:
    """Everything that is summed over the batches, by reading and output."""

    names: Sequence[str]
    axes: Mapping[str, int | None]
    metrics: Mapping[tuple[Figure, str], Metric]
    sums: dict[tuple[str, int], Sums] = field(default_factory=dict)
    channels: dict[tuple[str, int], ChannelSums] = field(default_factory=dict)
    votes: dict[tuple[str, int], Votes] = field(default_factory=dict)
    codes: dict[str, Steps] = field(default_factory=dict)

    def add_codes(self, found: Mapping[str, Sequence[Array]], steps: Mapping[str, float]) -> None:
        """Count the codes of the outputs whose ``steps`` are known."""
        for name, step in steps.items():
            i = self.names.index(name)
            counter = self.codes.setdefault(name, Steps())
            counter.add(found["deployed"][i], found["literal"][i], step)

    def add(
        self, exact: Sequence[Array], found: Mapping[str, Sequence[Array]], labels: Array | None
    ) -> None:
        for i, values in enumerate(exact):
            for reading, results in found.items():
                self.sums.setdefault((reading, i), Sums()).add(values, results[i])
                parts = ChannelSums(self.axes.get(self.names[i]))
                self.channels.setdefault((reading, i), parts).add(values, results[i])
                votes = self.votes.get((reading, i)) or start_votes(
                    values, self.names[i], self.axes
                )
                if votes is not None:
                    self.votes[reading, i] = votes
                    votes.add(values, results[i], labels)
            if "literal" in found:
                gap = self.sums.setdefault(("gap", i), Sums())
                gap.add(found["literal"][i], found["deployed"][i])
        for (_, reading), metric in self.metrics.items():
            mine = dict(zip(self.names, found[reading], strict=True))
            metric.update(dict(zip(self.names, exact, strict=True)), mine, labels)

    def result(self, reading: str) -> ReadingResult:
        errors = [self.sums[reading, i].result(name) for i, name in enumerate(self.names)]
        votes = [
            v.result(self.names[i])
            for (r, i), v in self.votes.items()
            if r == reading and (v.samples or v.labelled)
        ]
        channels = (self.channels.get((reading, i)) for i, _ in enumerate(self.names))
        found = tuple(None if c is None else c.result(COLLAPSE_DB) for c in channels)
        return ReadingResult(tuple(errors), tuple(votes), found)


def measure_latency(
    float_model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    sample: Batch,
    engine: Engine | None = None,
) -> Latency:
    """Run both models alternately on one batch in ``engine``, without spinning threads (two
    spinning sessions in one process would slow each other down)."""
    load = (find_engine(DEFAULT) if engine is None else engine).load
    timed = Settings(spin=False, reserve=True, frozen=False)
    sessions = [load(m, timed) for m in (float_model, quantized)]
    times: tuple[list[float], list[float]] = ([], [])
    for session in sessions:
        session.run(sample.feeds)
    start = time.perf_counter()
    while not _enough(times[0], time.perf_counter() - start):
        for session, record in zip(sessions, times, strict=True):
            before = time.perf_counter()
            session.run(sample.feeds)
            record.append((time.perf_counter() - before) * 1e3)
    exact, found = (_median(t) for t in times)
    ratio, paired = found / exact, [b / a for a, b in zip(*times, strict=True)]
    low, high = (float(q) for q in np.quantile(paired, (0.25, 0.75)))
    return Latency(sample.samples, exact, found, ratio, min(low, ratio), max(high, ratio))


def _enough(runs: Sequence[float], seconds: float) -> bool:
    least, most = LATENCY_RUNS
    return len(runs) >= most or (len(runs) >= least and seconds > LATENCY_SECONDS)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
