"""The output SQNR of a quantized model on held-out samples, by which steps are kept or dropped.

The SQNR of the outputs in dB, ``10 log10(sum x^2 / sum (x - y)^2)``, averaged over the float
outputs; for a model that ends in a Softmax or Sigmoid, the SQNR of its input (the logits), since a
few dozen samples with probabilities near 0 and 1 say little; for an ArgMax or TopK, of what it
chooses from.  The mean hides an output that is lost while another gains, and so does the whole of
an output with its channels (boxes in pixels beside scores in 0..1), so both are looked at as well
(:func:`is_better`).

Both models run as ONNX defines them, without graph optimizations (:mod:`oq.model.session`:
literal); the quantized one in the target's engine where that rounds otherwise
(:class:`~oq.engines.engine.Engine`: ``rounds``), since a deep network collects in every layer what
such a rounding differs by.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from oq.comparison.channels import ChannelSums
from oq.comparison.classes import class_axes
from oq.comparison.deviation import Noise, sqnr_db
from oq.engines.engine import DEFAULT, find_engine
from oq.model.session import SERIAL, Session, expose
from oq.model.view import GraphView
from oq.numerics.values import Array
from oq.parallel import parallel_map
from oq.planning.outputs import find_logits, ops_behind_logits
from oq.refine.subject import Feeds

HIGHEST_DB = 150.0
"""Used for equal outputs in an average."""

LOST_DB, LOST_CHANNEL_DB = 10.0, 3.0
"""SQNR below which an output, or a channel of one, is of little use.  A channel has few values, so
that its figure varies more."""

FALL_DB = 3.0
"""Minimum fall: the noise has doubled."""

TOLERATED_DB = 1.0
"""What the mean may lose for an output or a channel that was lost."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How near a quantized model is to the float one: ``db`` is the mean SQNR of the judged
    ``tensors``, ``outputs`` that of each, ``channels`` those of each one's channels, as far as they
    can be judged (:class:`~oq.comparison.channels.ChannelErrors`)."""

    db: float
    tensors: tuple[str, ...] = ()
    outputs: tuple[float, ...] = ()
    channels: tuple[dict[int, float], ...] = ()

    def lost(self, before: "Verdict") -> Iterator[str]:
        """What has fallen, since ``before``, so far that it is of little use."""
        for slot, tensor in enumerate(self.tensors):
            then, now = before.outputs[slot], self.outputs[slot]
            if now < LOST_DB and then - now > FALL_DB:
                yield f"output {tensor!r} falls from {then:.1f} to {now:.1f} dB"
            earlier = before.channels[slot]
            for channel, db in self.channels[slot].items():
                was = earlier.get(channel, db)
                if db < LOST_CHANNEL_DB and was - db > FALL_DB:
                    yield f"channel {channel} of {tensor!r} falls from {was:.1f} to {db:.1f} dB"


def is_better(after: Verdict, before: Verdict) -> bool:
    """Whether the mean SQNR has risen, and no output and no channel is lost for it.

    Where one that was lost is found again, the mean may fall by :data:`TOLERATED_DB`.
    """
    if any(after.lost(before)):
        return False
    return after.db > before.db - (TOLERATED_DB if any(before.lost(after)) else 0.0)


@dataclass(slots=True)
class Judge:
    """Compares models with ``model`` on ``samples``, ``at_once`` of which run side by side, in
    ``engine`` if that has a rounding of its own; ``model`` runs only once."""

    model: onnx.ModelProto
    view: GraphView
    samples: tuple[Feeds, ...]
    engine: str = DEFAULT
    at_once: int | None = None
    tensors: tuple[str, ...] = ()
    _axes: Mapping[str, int | None] = field(default_factory=dict)
    _exact: list[list[Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tensors = find_logits(self.view)
        self._axes = class_axes(self.model, self.tensors)
        self._exact = self._run(self.model, DEFAULT)

    @property
    def measure(self) -> str:
        """What is compared, in words: the outputs, or what stands before their Softmax, Sigmoid or
        ArgMax, and in whose rounding."""
        ops = ops_behind_logits(self.view)
        found = f"SQNR before the {' and '.join(ops)}" if ops else "output SQNR"
        rounded = find_engine(self.engine).rounds
        return f"{found} as {self.engine} rounds" if rounded else found

    def compare(self, quantized: onnx.ModelProto) -> Verdict:
        """The SQNR of the judged tensors in dB.  Values that are not finite in the float model are
        ignored; values that are not finite only in ``quantized`` count as infinite noise."""
        found = self._run(quantized, self.engine)
        figures, channels = [], []
        for slot, tensor in enumerate(self.tensors):
            sums, parts = Noise(), ChannelSums(self._axes.get(tensor))
            for exact, other in zip(self._exact, found, strict=True):
                sums.add(exact[slot], other[slot])
                parts.add(exact[slot], other[slot])
            figures.append(min(sqnr_db(sums.signal, sums.noise), HIGHEST_DB))
            channels.append(parts.decibels())
        return Verdict(float(np.mean(figures)), self.tensors, tuple(figures), tuple(channels))

    def _run(self, model: onnx.ModelProto, engine: str) -> list[list[Array]]:
        exposed, runner = expose(model, self.tensors), find_engine(engine)
        loaded = runner.load(exposed, SERIAL) if runner.rounds else Session(exposed, SERIAL)
        return parallel_map(lambda f: loaded.run(f, self.tensors), self.samples, self.at_once)
