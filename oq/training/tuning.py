"""The training loop of ``oq finetune``: epochs, a schedule, the best state, and where it stands.

    rate(done) = rate step max((1 + cos(pi done)) / 2, 0.01)     done: part of all samples
                                                                 step: of the parameter's grid

after the recipes of NVIDIA and of NNCF: Adam, a cosine down to 1 %.  A step of Adam moves a weight
by about its rate, so that in steps of its grid one rate means the same for all layers.  The state
is judged as the file that it would become, on samples that nothing is trained on, by the judge of
the refinement steps.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oq.numerics.values import Batch
from oq.planning.outputs import find_logits
from oq.progress import Counter, Watch
from oq.refine.judge import Judge, Verdict, is_better
from oq.refine.outcome import Outcome
from oq.training.losses import LOSSES
from oq.training.module import OnnxModule
from oq.training.qat import Qat
from oq.training.sidecar import OPTIMIZER, read_state, write_state
from oq.training.supply import Lesson, Supply
from oq.training.views import VIEWS, image_inputs
from oq.wording import counted

SAMPLES = 10_000
"""Samples, or views of some, that a run takes unless epochs or minutes are given."""

JUDGED = 20
"""Most often that a run is judged, in even steps: a judgement costs as much as some steps."""

LEAST_RATE = 0.01
"""Of the rate, at the end."""

SAVED_EVERY = 20.0
"""Seconds of training that a killed run may lose."""

TRIED = 3
"""Steps that are timed to see how many epochs a limit of minutes holds; the first of them is not
counted, and all are taken back."""

BEST, NOW = "best/", "now/"


@dataclass(frozen=True, slots=True)
class Lessons:
    """How to train: ``epochs`` and ``minutes`` at most (None: as many as make :data:`SAMPLES`, and
    no limit), ``rate`` in steps of grids, names of a loss and of views, and the ``seed`` of all
    that is drawn."""

    epochs: int | None
    minutes: float | None
    rate: float
    loss: str
    views: str
    seed: int


@dataclass(slots=True)
class Standing:
    """Where a run is: epochs and steps of the present one that are done, samples in all, seconds
    spent, and the epoch of the best state (0: the one it began with)."""

    epoch: int = 0
    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    best: int = 0

    def move(self, samples: int, last: bool) -> None:
        """One step on, of so many samples, the ``last`` of its epoch or not."""
        self.samples += samples
        self.epoch, self.step = (self.epoch + 1, 0) if last else (self.epoch, self.step + 1)


@dataclass(frozen=True, slots=True)
class Score:
    """How good a state is: its verdict, and where labels are learned the loss with those of samples
    that are held back."""

    verdict: Verdict
    loss: float | None = None

    def is_above(self, other: "Score") -> bool:
        """Whether this is the better one: a model that learns labels need not stay near the float
        one."""
        if self.loss is None or other.loss is None:
            return is_better(self.verdict, other.verdict)
        return self.loss < other.loss


@dataclass(slots=True)
class Tuner:
    """A run over ``supply``, judged by ``judge``, or by the loss on the held-back samples
    ``labelled``, if there are some; ``state`` is the file that a killed one goes on from."""

    qat: Qat
    judge: Judge
    supply: Supply
    lessons: Lessons
    labelled: tuple[Batch, ...] = ()
    state: Path | None = None
    watch: Watch | None = None
    epochs: int = 0
    logits: tuple[tuple[str, ...], tuple[str, ...]] = field(init=False)
    images: tuple[str, ...] = field(init=False)
    at: Standing = field(init=False, default_factory=Standing)
    _optimizer: torch.optim.Adam = field(init=False)
    _best: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.qat.module.to(device)
        self.qat.teacher.to(device)
        exact = find_logits(self.qat.float_view)
        trained = find_logits(self.qat.prepared_view)
        outputs = tuple(self.qat.float_view.outputs)
        # one name each, in the order of the outputs; where preparation has changed their number,
        # the outputs themselves, which have the same names
        self.logits = (trained, exact) if len(trained) == len(exact) else (outputs, outputs)
        self.images = image_inputs(self.qat.module.program.inputs)
        self._optimizer = self._new_optimizer()
        self._best = _copy(self.qat.module.state_dict())

    def run(self) -> Outcome:
        """Train to the end, and leave the best state in the module."""
        before = self._score()
        best = self._resume(before)
        self.epochs = self.epochs or self._plan()
        total = self.epochs * self.supply.count
        counter = Counter("finetune", total, self.watch)
        began = saved = time.perf_counter() - self.at.seconds
        for lesson, last in self._remaining():
            if not self._step(lesson, self.at.samples / total):
                return self._end(
                    before, best, f"stopped in epoch {self.at.epoch + 1}: the loss was not finite"
                )
            self.at.move(sum(b.samples for b in lesson), last)
            counter(self.at.samples)
            if last:
                best = self._judged(best)
            self.at.seconds = time.perf_counter() - began
            if last or self.at.seconds - saved >= SAVED_EVERY:
                self._save()
                saved = self.at.seconds
        return self._end(before, best, "")

    def _plan(self) -> int:
        """The number of epochs: as many as are asked for and fit into the minutes, at least one."""
        given, count = self.lessons, self.supply.count
        if given.minutes is None:
            return given.epochs or max(1, round(SAMPLES / count))
        sample, judging = self._timed()
        fitting = max(1, int((60 * given.minutes - JUDGED * judging) / (sample * count)))
        return min(fitting, given.epochs or fitting)

    def _timed(self) -> tuple[float, float]:
        """The seconds of a sample and of a judgement; the steps that tell are taken back."""
        start = _copy(self.qat.module.state_dict())
        seconds = []
        for lesson in islice(self.supply.lessons(0), TRIED):
            began = time.perf_counter()
            self._learn(lesson, np.random.default_rng(0))
            seconds.append((time.perf_counter() - began) / sum(b.samples for b in lesson))
        self.qat.module.load_state_dict(start)
        self._optimizer = self._new_optimizer()
        began = time.perf_counter()
        self._score()
        return float(np.mean(seconds[1:] or seconds)), time.perf_counter() - began

    def _remaining(self) -> Iterator[tuple[Lesson, bool]]:
        """The steps that are not done yet, each with whether it is the last one of its epoch."""
        for epoch in range(self.at.epoch, self.epochs):
            lessons = list(self.supply.lessons(epoch))
            for number in range(self.at.step, len(lessons)):
                yield lessons[number], number == len(lessons) - 1

    def _step(self, lesson: Lesson, done: float) -> bool:
        """One step at the rate of the part of all samples that are ``done``; whether its loss was
        finite."""
        part = max((1 + math.cos(math.pi * done)) / 2, LEAST_RATE)
        for group in self._optimizer.param_groups:
            group["lr"] = part * group["rate"]
        random = np.random.default_rng([self.lessons.seed, self.at.epoch, self.at.step])
        return math.isfinite(self._learn(lesson, random))

    def _learn(self, lesson: Lesson, random: np.random.Generator) -> float:
        """One step of the optimizer; the loss in front of it."""
        self._optimizer.zero_grad()
        samples, total = sum(b.samples for b in lesson), 0.0
        for batch in lesson:
            loss = self._loss(batch, self._feeds(batch, random)) * (batch.samples / samples)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        if math.isfinite(total):
            self._optimizer.step()
            self.qat.step()
        return total

    def _loss(self, batch: Batch, feeds: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            exact = _read(self.qat.teacher, feeds, self.logits[1])
        found = _read(self.qat.module, feeds, self.logits[0])
        labels = None
        if batch.labels is not None:
            labels = torch.from_numpy(batch.labels.astype(np.int64)).to(self.qat.module.device)
        return LOSSES[self.lessons.loss](found, exact, labels)

    def _feeds(self, batch: Batch, random: np.random.Generator | None) -> dict[str, Tensor]:
        """What the models take; other views of the images where there is a ``random``."""
        device = self.qat.module.device
        feeds = {n: torch.from_numpy(np.array(a)).to(device) for n, a in batch.feeds.items()}
        if random is None:
            return feeds
        view = VIEWS[self.lessons.views]
        return feeds | {n: view(feeds[n], random) for n in self.images if n in feeds}

    def _score(self) -> Score:
        verdict = self.judge.compare(self.qat.model())
        if not self.labelled:
            return Score(verdict)
        samples = sum(b.samples for b in self.labelled)
        with torch.no_grad():
            losses = [float(self._loss(b, self._feeds(b, None))) * b.samples for b in self.labelled]
        return Score(verdict, sum(losses) / samples)

    def _judged(self, best: Score) -> Score:
        """The better of ``best`` and the present state, which is kept if it is that."""
        every = math.ceil(self.epochs / JUDGED)
        if self.at.epoch % every and self.at.epoch != self.epochs:
            return best
        found = self._score()
        if not found.is_above(best):
            return best
        self._best, self.at.best = _copy(self.qat.module.state_dict()), self.at.epoch
        return found

    def _end(self, before: Score, best: Score, fault: str) -> Outcome:
        """The best state in the module, and what came of the run."""
        self.qat.module.load_state_dict(self._best)
        kept = self.at.best > 0
        note = (
            f"the best of {counted(self.epochs, 'epoch')} is number {self.at.best}"
            if kept
            else f"none of {counted(self.epochs, 'epoch')} is better than the refined file, which "
            "is written as it was"
        )
        if before.loss is not None and best.loss is not None:
            note += f"; loss with labels {before.loss:.3f} -> {best.loss:.3f}"
        said = "; ".join(filter(None, (note, fault)))
        decibels = before.verdict.db, best.verdict.db
        told = (said, self.judge.measure)
        return Outcome("finetune", kept, *decibels, self.at.seconds, *told)

    def _new_optimizer(self) -> torch.optim.Adam:
        rate = self.lessons.rate
        return torch.optim.Adam(
            [
                {"params": [p], "lr": rate * step, "rate": rate * step}
                for p, step in self.qat.steps()
            ]
        )

    @property
    def _signature(self) -> str:
        return f"{self.qat.signature} {self.lessons} {self.supply.batch}"

    def _save(self) -> None:
        if self.state is None:
            return
        module = self.qat.module.state_dict()
        tensors = {NOW + n: t for n, t in module.items()} | {
            BEST + n: t for n, t in self._best.items()
        }
        for number, parameter in enumerate(self._parameters()):
            for name, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"{OPTIMIZER}{number}/{name}"] = value
        told = {
            "at": [self.at.epoch, self.at.step, self.at.samples, self.at.best],
            "epochs": self.epochs,
            "seconds": round(self.at.seconds, 3),
        }
        write_state(self.state, tensors, self._signature, told)

    def _resume(self, before: Score) -> Score:
        """Go on from the state file, if there is one; the score of its best state."""
        if self.state is None or not self.state.exists():
            return before
        module = self.qat.module.state_dict()
        wanted = {where + n: t for where in (NOW, BEST) for n, t in module.items()}
        tensors, told = read_state(self.state, self._signature, wanted)
        self.epochs = int(told["epochs"])
        epoch, step, samples, best = (int(n) for n in told["at"])
        self.at = Standing(epoch, step, samples, float(told["seconds"]), best)
        self._best = _under(BEST, tensors)
        self.qat.module.load_state_dict(self._best)
        score = self._score() if best else before
        self.qat.module.load_state_dict(_under(NOW, tensors))
        for number, parameter in enumerate(self._parameters()):
            own = _under(f"{OPTIMIZER}{number}/", tensors)
            if own:
                self._optimizer.state[parameter] = {
                    n: t if n == "step" else t.to(parameter.device) for n, t in own.items()
                }
        return score

    def _parameters(self) -> list[Tensor]:
        return [p for group in self._optimizer.param_groups for p in group["params"]]


def _read(module: OnnxModule, feeds: Mapping[str, Tensor], names: Sequence[str]) -> list[Tensor]:
    found = module.evaluate(feeds, names)
    return [found[n] for n in names]


def _copy(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {n: t.detach().clone() for n, t in state.items()}


def _under(folder: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in ``folder``, without it in their names."""
    return {n.removeprefix(folder): t for n, t in tensors.items() if n.startswith(folder)}
