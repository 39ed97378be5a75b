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
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path
from typing import Any, Unpack

import onnx

import oq
from oq.budget.journal import Journal, open_journal
from oq.budget.proxy import make_ranker
from oq.budget.score import Judged, Score, make_score
from oq.budget.strategy import propose
from oq.budget.trial import Trial, best_trial
from oq.calibration.cache import make_key
from oq.calibration.measure import Shared
from oq.checks.judgement import judge
from oq.comparison.compare import Verification
from oq.data.samples import open_samples
from oq.data.source import Data, fingerprint, open_source
from oq.errors import OptionError
from oq.exporting.load import Model, load
from oq.model.proto_fields import feedable
from oq.options.config import plain_options
from oq.options.keywords import SearchOptions, complete, documented
from oq.options.leave import leaving_config
from oq.page.write import want_page
from oq.pipeline import Result, finish, quantize
from oq.planning.overrides import Overrides, make_overrides
from oq.planning.setup import choose_target
from oq.planning.target import Target
from oq.progress import LOG, Watch
from oq.refine.order import NONE
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
    cache = options.pop("cache", None)
    options["cache"] = Shared(None if cache is None else Path(cache))
    profile, _ = choose_target(target, options.get("settings") or {})
    loaded, path = load(model, shapes=options.get("shape")), Path(output)
    run = _Run(
        {"model": model, "target": target, "data": data, **options},
        profile,
        make_score(loaded, profile, data, judged, options),
        open_journal(
            path.with_name(path.name + JOURNAL),
            oq.__version__,
            _key(loaded, target, data, judged, options),
        ),
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
    preprocess = options.get("preprocess")
    samples = open_samples(loaded, data, preprocess, None, 0)
    found = [make_key(loaded, "").model, target, fingerprint(samples), plain_options(options)]
    labels = judged.labels
    if judged.data is not None:
        inputs = feedable(loaded)
        source = open_source(judged.data, inputs, preprocess=preprocess, labels=labels)
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
    ``written``: the file at ``path``, where this run wrote it.
    """

    options: Mapping[str, Any]
    profile: Target
    score: Score
    journal: Journal
    path: Path
    max_drop: float
    deadline: float
    watch: Watch | None
    seen: list[Trial] = field(default_factory=list)
    fresh: int = 0
    written: tuple[Trial, Result] | None = None
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
        options = {k: v for k, v in self.options.items() if k not in UNRANKED}
        ranker = make_ranker(
            loaded, shared=self.options["cache"], overrides=self.overrides, **options
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
            trial = self.attempt(tuple(one.node for one in layers if one.node in wish))
            if trial is None:
                self.stopped = TIME_UP
                return
            try:
                wish = proposals.send(trial)
            except StopIteration:
                return

    def attempt(self, keep: tuple[str, ...]) -> Trial | None:
        """The trial of ``keep``, from the journal or made now, its file written if it is the best;
        None where the time left is too short."""
        trial = self.journal.trials.get(keep)
        if trial in self.seen:
            return trial
        if trial is None:
            begun = time.monotonic()
            if self.seen and begun + max(t.seconds for t in self.seen) > self.deadline:
                return None
            result = self.make(keep)
            trial = self.evaluate(keep, result, begun)
            if best_trial([*self.seen, trial], self.max_drop) is trial:
                self.written = trial, finish(result, self.path)
            self.journal.add(trial)
            self.fresh += 1
        self.seen.append(trial)
        self.tell("search", len(self.seen))
        lost = told_drop(self.score.metric, trial.drop)
        share, floats = f"{trial.int8_share:.1f} % of MACs in int8", counted(len(keep), "layer")
        LOG.info("search %d: %s in float, %s, %s", len(self.seen), floats, share, lost)
        return trial

    def make(self, keep: tuple[str, ...], **page: Any) -> Result:
        """The whole pipeline, with ``keep`` in float too."""
        changed: dict[str, Any] = {
            **page,
            "keep_float": (*self.options.get("keep_float", ()), *map(escape, keep)),
        }
        if keep:
            changed["refine"] = self.seen[0].refined or NONE
        changed["watch"] = self.watch
        return quantize(**{**self.options, **changed}, verify=True)

    def evaluate(self, keep: tuple[str, ...], result: Result, begun: float) -> Trial:
        """The scores of ``result``."""
        verified = result.report.verification
        drop = self.score.drop(result.model, verified)
        share = judge(result.model, self.profile).forecast.share
        sqnr, agreement = _figures(verified)
        refined = tuple(o.step for o in result.report.refinement if o.kept)
        return Trial(keep, drop, share, sqnr, agreement, refined, time.monotonic() - begun)

    def outcome(self, verified: Verification | None) -> Searched:
        """The story so far; ``verified`` is of the file at ``path``."""
        plain, best = self.seen[0], best_trial(self.seen, self.max_drop)
        return Searched(
            max_drop=self.max_drop,
            met=best.meets(self.max_drop),
            judged=self.score.words(verified, self.max_drop),
            drop=best.drop,
            plain_drop=plain.drop,
            kept=best.keep,
            int8_share=best.int8_share,
            plain_share=plain.int8_share,
            tried=len(self.seen),
            resumed=len(self.seen) - self.fresh,
            stopped=self.stopped,
            journal=str(self.journal.path),
            metric=self.score.metric,
        )

    @property
    def overrides(self) -> Overrides:
        """The user's own."""
        asked = ("keep_float", "calibrator_for", "layers", "mode", "calibrator")
        return make_overrides(**{k: self.options[k] for k in asked if k in self.options})

    def tell(self, stage: str, done: int) -> None:
        """Whoever watches."""
        if self.watch is not None:
            self.watch(stage, done, None)


def _figures(verified: Verification | None) -> tuple[float | None, float | None]:
    """(lowest SQNR in dB, lowest agreement in percent) of the literal reading."""
    if verified is None:
        return None, None
    literal = verified.literal
    agreements = [votes.agreement for votes in literal.classes]
    return min(e.sqnr_db for e in literal.outputs), min(agreements, default=None)
