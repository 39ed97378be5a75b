"""Quantize within an accuracy budget: the search.

Everything in int8 is tried first; if it meets the budget, it is the result.  Else the layers are
ranked by fast scores (:mod:`oq.budget.proxy`), and the sets that :mod:`oq.budget.strategy` proposes
are quantized and evaluated by the complete pipeline, with a common calibration and with those
refinement steps that helped everything in int8.

The output always holds the best file so far, and all measurements are in the journal beside it
(:mod:`oq.budget.journal`); a run with the same inputs resumes from there, and ends with the same
file as an uninterrupted one.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import onnx

import oq
from oq.budget.candidate import Candidates, Keep, send
from oq.budget.journal import Journal, open_journal
from oq.budget.proxy import make_ranker
from oq.budget.score import Judged, make_score
from oq.budget.strategy import Ranked, foresee, propose
from oq.budget.trial import Trial, best_trial
from oq.calibration.cache import make_key
from oq.calibration.measure import Shared
from oq.comparison.compare import Verification
from oq.data.samples import open_samples
from oq.data.source import Data, fingerprint, open_source
from oq.distributed.cluster import check_ray, open_workers
from oq.errors import OptionError
from oq.exporting.load import Model, load
from oq.model.proto_fields import feedable
from oq.options.config import plain_options
from oq.options.keywords import SearchOptions, complete, documented
from oq.options.leave import leaving_config
from oq.page.write import want_page
from oq.parallel import Workers
from oq.pipeline import Result, finish
from oq.planning import registry
from oq.planning.overrides import Overrides, make_overrides
from oq.planning.setup import choose_target
from oq.progress import LOG, Watch
from oq.reporting.search import Searched
from oq.reporting.verdict import told_drop
from oq.wording import counted

JOURNAL = ".journal.jsonl"
"""Appended to the name of the output."""

TIME_UP = "the time limit was reached"

PAGE = ("report", "ranking")
"""Options that only apply to the last file."""

UNRANKED = (
    *("model", "cache", "format", "refine", "keep_float"),
    *("calibrator_for", "layers", "mode", "shape"),
)
"""Options that a ranking does not use, or in another form."""


@documented(SearchOptions)
def search(
    model: Model,
    target: str,
    data: Data | None,
    output: str | Path,
    *,
    max_drop: float,
    **keywords: Unpack[SearchOptions],
) -> Result:
    """Quantize ``model`` with as much int8 as possible while losing at most ``max_drop`` points,
    and write the file to ``output``.

    The drop is that of top-1 accuracy on ``eval_data`` with labels (``labels``: a CSV
    ``file,label`` for a folder of images), in the worse of the two modes; without ``eval_data``, it
    is the percentage of held-out calibration samples whose top-1 differs from the float model's.
    It is that of ``metric`` where one is named (:mod:`oq.comparison.metrics`), on either.
    ``time_limit`` in seconds: no trial is started that would end later, judging by the time of
    earlier ones; everything in int8 is always tried.

    ``result.report.search`` says whether the budget was met; the file is written in any case.

    Raises:
        OqError: the model, the data or an option cannot be used; no labels; no classifier.
    """
    start = time.monotonic()
    complete(SearchOptions, keywords)  # unknown ones are refused before any work
    options: dict[str, Any] = dict(keywords)
    judged = Judged(*(options.pop(name, None) for name in ("eval_data", "labels", "metric")))
    time_limit, watch = options.pop("time_limit", None), options.pop("watch", None)
    if not options.pop("verify", True):
        raise OptionError("--max-drop compares on held-back samples: it cannot go with --no-verify")
    if data is None:
        raise OptionError("--max-drop ranks layers on calibration samples: give --data")
    if max_drop < 0:
        raise OptionError(f"--max-drop is {max_drop:g} points; expected 0 or more")
    page = {name: options.pop(name, None) for name in PAGE}
    want_page(page["report"], page["ranking"])
    check_ray(options.get("ray"), options.get("provider", "cpu"))
    cache = options.pop("cache", None)
    options["cache"] = Shared(None if cache is None else Path(cache))
    profile, _ = choose_target(target, options.get("settings") or {})
    loaded, path = load(model, shapes=options.get("shape")), Path(output)
    score = make_score(loaded, profile, data, judged, options)
    key = _key(loaded, target, data, judged, options)
    with open_workers(options.pop("ray", None)) as workers:
        given = {"model": model, "target": target, "data": data, **options, "ray": workers}
        run = _Run(
            Candidates(given, profile, score),
            open_journal(path.with_name(path.name + JOURNAL), oq.__version__, key),
            path,
            max_drop,
            float("inf") if time_limit is None else start + time_limit,
            watch,
        )
        run.search(loaded)
        return run.finish(page, start)


def _key(
    loaded: onnx.ModelProto,
    target: str,
    data: object,
    judged: Judged,
    options: Mapping[str, Any],
) -> str:
    """What the measurements depend on, as SHA-256; neither the budget nor the time."""
    read = {name: options.get(name) for name in ("preprocess", "rename")}
    samples = open_samples(loaded, data, samples=None, seed=0, **read)
    found = [make_key(loaded, "").model, target, fingerprint(samples), plain_options(options)]
    labels = judged.labels
    if judged.data is not None:
        inputs = feedable(loaded)
        source = open_source(judged.data, inputs, labels=labels, **read)
        found.append(fingerprint(source))
    if labels is not None:
        found.append(hashlib.sha256(Path(labels).read_bytes()).hexdigest())
    if judged.metric is not None:
        found.append(f"metric {judged.metric}")
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


@dataclass(slots=True)
class _Run:
    """A search under way.

    ``seen``: the trials in their order, those that the journal had too (all but ``fresh``).
    ``written``: the file at ``path``, where this run wrote it.  ``foreseen``: candidates that
    workers have made ahead.
    """

    candidates: Candidates
    journal: Journal
    path: Path
    max_drop: float
    deadline: float
    watch: Watch | None
    seen: list[Trial] = field(default_factory=list)
    fresh: int = 0
    written: tuple[Trial, Result] | None = None
    foreseen: dict[Keep, tuple[Trial, Result]] = field(default_factory=dict)
    stopped: str = ""

    def search(self, loaded: onnx.ModelProto) -> None:
        """Everything in int8, and what else there is to try and time for."""
        plain = self.attempt(())
        if plain is not None and not plain.meets(self.max_drop):
            self.explore(loaded)

    def finish(self, page: Mapping[str, Any], start: float) -> Result:
        """The result of the best file, which is at ``path`` then, with the search in its report;
        made again where the file is of an earlier run, or has a ``page``."""
        best = best_trial(self.seen, self.max_drop)
        ours = self.written is not None and self.written[0] == best and page["report"] is None
        result = self.written[1] if self.written and ours else self.make(best.keep, **page)
        report = replace(
            result.report,
            seconds={**result.report.seconds, "search": time.monotonic() - start},
            search=self.outcome(result.report.verification),
        )
        told = replace(result, report=report)
        if not ours:
            return finish(told, self.path)
        with leaving_config(report, self.path):
            return told

    def explore(self, loaded: onnx.ModelProto) -> None:
        """Rank the layers, then try what is proposed, while there is time."""
        options = {k: v for k, v in self.candidates.options.items() if k not in UNRANKED}
        ranker = make_ranker(
            loaded, shared=self.candidates.options["cache"], overrides=self.overrides, **options
        )
        for one in ranker.rank(dict(self.journal.layers)):
            self.journal.add(one)
            self.tell("rank", len(self.journal.layers))
            if time.monotonic() > self.deadline:
                self.stopped = TIME_UP
                return
        layers = ranker.in_graph_order(self.journal.layers)
        proposals = propose(layers, self.max_drop)
        wish = next(proposals, None)
        while wish is not None:
            keep = _ordered(layers, wish)
            if keep not in self.journal.trials and keep not in self.foreseen:
                self.foresee(layers)
            trial = self.attempt(keep)
            if trial is None:
                self.stopped = TIME_UP
                return
            try:
                wish = proposals.send(trial)
            except StopIteration:
                return

    def attempt(self, keep: Keep) -> Trial | None:
        """The trial of ``keep``, from the journal or made now, its file written if it is the best;
        None where the time left is too short."""
        trial = self.journal.trials.get(keep)
        if trial in self.seen:
            return trial
        if trial is None:
            begun = time.monotonic()
            if self.seen and begun + max(t.seconds for t in self.seen) > self.deadline:
                return None
            ahead = keep in self.foreseen
            trial, result = self.foreseen.pop(keep) if ahead else self.try_out(keep, begun)
            if best_trial([*self.seen, trial], self.max_drop) is trial:
                self.written = trial, finish(result, self.path)
            self.journal.add(trial)
            self.fresh += 1
        self.seen.append(trial)
        self.tell("search", len(self.seen))
        lost = told_drop(self.candidates.score.metric, trial.drop)
        share, floats = f"{trial.int8_share:.1f} % of MACs in int8", counted(len(keep), "layer")
        LOG.info("search %d: %s in float, %s, %s", len(self.seen), floats, share, lost)
        return trial

    def try_out(self, keep: Keep, begun: float) -> tuple[Trial, Result]:
        """The candidate, made here, and its scores."""
        result = self.make(keep)
        return self.candidates.evaluate(keep, result, begun), result

    def make(self, keep: Keep, **page: Any) -> Result:
        """The whole pipeline, with ``keep`` in float too."""
        refined = self.seen[0].refined if keep else None
        return self.candidates.make(keep, refined, **page, watch=self.watch)

    def foresee(self, layers: Sequence[Ranked]) -> None:
        """Let workers make what may be asked for next, one candidate each; what is not asked for is
        forgotten, so trials are those of a search without workers."""
        workers: Workers | None = self.candidates.options.get("ray")
        if workers is None or registry.is_extended():
            return
        known = {frozenset(keep): trial for keep, trial in self.journal.trials.items()}
        known |= {frozenset(keep): trial for keep, (trial, _) in self.foreseen.items()}
        sets = foresee(layers, self.max_drop, known, workers.slots)
        if not sets:
            return
        keeps = [_ordered(layers, one) for one in sets]
        work = send(self.candidates, self.seen[0].refined)
        self.foreseen |= dict(zip(keeps, workers.map(work, keeps), strict=True))

    def outcome(self, verified: Verification | None) -> Searched:
        """The search so far, for the report; ``verified`` is of the file at ``path``."""
        plain, best = self.seen[0], best_trial(self.seen, self.max_drop)
        return Searched(
            max_drop=self.max_drop,
            met=best.meets(self.max_drop),
            judged=self.candidates.score.words(verified, self.max_drop),
            drop=best.drop,
            plain_drop=plain.drop,
            kept=best.keep,
            int8_share=best.int8_share,
            plain_share=plain.int8_share,
            tried=len(self.seen),
            resumed=len(self.seen) - self.fresh,
            stopped=self.stopped,
            journal=str(self.journal.path),
            metric=self.candidates.score.metric,
        )

    @property
    def overrides(self) -> Overrides:
        """The overrides that the user gave."""
        asked = ("keep_float", "calibrator_for", "layers", "mode", "calibrator")
        options = self.candidates.options
        return make_overrides(**{k: options[k] for k in asked if k in options})

    def tell(self, stage: str, done: int) -> None:
        """Report to ``watch`` that ``done`` steps of ``stage`` are done."""
        if self.watch is not None:
            self.watch(stage, done, None)


def _ordered(layers: Sequence[Ranked], chosen: frozenset[str]) -> Keep:
    return tuple(one.node for one in layers if one.node in chosen)
