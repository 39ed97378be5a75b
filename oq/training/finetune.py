"""From a float model to a trained quantized one in one call: the door to what imports torch."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from oq.data.samples import BATCH, in_float32
from oq.data.sizing import Sizing
from oq.data.source import Fitted, has_labels, open_source, subset
from oq.errors import DataError, OptionError
from oq.exporting.load import Model
from oq.numerics.values import Batch
from oq.options.keywords import FinetuneOptions, complete, documented
from oq.parallel import cores
from oq.pipeline import Result, Started, conclude, start, write_started
from oq.planning.setup import Planned
from oq.prepare.widen_floats import FLOAT32
from oq.refine.judge import Judge
from oq.refine.run import SHARES, feeds_to_judge, size_refinement, split_samples
from oq.training.convert import need_torch

if TYPE_CHECKING:
    from oq.training.qat import Qat


@documented(FinetuneOptions)
def finetune(
    model: Model,
    target: str,
    data: object = None,
    *,
    state: str | Path | None = None,
    **options: Unpack[FinetuneOptions],
) -> Result:
    """``model`` quantized and refined as :func:`oq.quantize` does, then trained on ``data``.

    What is trained is the Q/DQ graph itself (:func:`oq.prepare_qat`).  Every eighth sample is held
    back; the state that is nearest to the float model on those is what is returned, and that is the
    refined file where no other is better.  ``state`` is a file that a killed run goes on from: with
    the same arguments it ends with the same bytes.  It stays there; delete it.

    Raises:
        MissingExtra: torch or safetensors is not installed.
        OqError: as :func:`oq.quantize`, or an operator has no form in torch here, or ``state`` is
            that of another run.
    """
    need_torch("oq.finetune")
    from oq.training.losses import LOSSES
    from oq.training.qat import Qat
    from oq.training.views import VIEWS

    asked = complete(FinetuneOptions, options)
    _insist(asked, {"loss": LOSSES, "augment": VIEWS})
    started = start(model, target, data, asked)
    _refuse_types(started.run.recalibration.planned)
    source = _open_samples(started, asked)
    qat = Qat(started, write_started(started), asked["scales"], None)
    return _train(qat, source, asked, None if state is None else Path(state))


def _insist(asked: FinetuneOptions, tables: dict[str, Any]) -> None:
    values = cast("dict[str, Any]", asked)
    for name, table in tables.items():
        if values[name] not in (None, *table):
            raise OptionError(f"--{name} {values[name]!r}: expected {', '.join(table)}")
    if asked["format"] != "qdq":
        raise OptionError(
            f"format={asked['format']!r}: Q/DQ are trained; deploy the finished file --to qoperator"
        )
    if asked["report"] or asked["ranking"]:
        raise OptionError(
            "--report and --ranking tell of a run without training; the page of the trained file: "
            "oq verify MODEL FILE --report"
        )


def _refuse_types(planned: Planned) -> None:
    if planned.own != FLOAT32:
        raise OptionError(
            f"the model is {planned.own.most or 'not float32 at its inputs or outputs'}, which is "
            "not trained here; accepted is its float32 form"
        )


def _open_samples(started: Started, asked: FinetuneOptions) -> Fitted:
    """The samples of the run, with labels where they are trained on.

    Raises:
        DataError: there are none, or they cannot be read again.
    """
    source = started.given.source
    if source is None or source.count is None:
        raise DataError(
            "training reads the samples again in each epoch; accepted is --data that can be read "
            "again: a file, a folder, arrays, a list of feeds, package.module:callable"
        )
    labels = asked["labels"]
    if labels is not None:
        opened = open_source(
            *(started.data, source.inputs),
            preprocess=asked["preprocess"],
            labels=Path(labels),
            rename=asked["rename"],
        )
        if asked["samples"] is not None:
            opened = subset(opened, asked["samples"], asked["seed"])
        source = in_float32(opened, ())
    if _loss(asked) == "labels" and not has_labels(source):
        raise OptionError(
            f"{source.name} has no labels, which --loss labels needs: key 'labels' in an .npz, or "
            "--labels FILE.csv with a folder of images"
        )
    return source


def _loss(asked: FinetuneOptions) -> str:
    """The loss asked for: labels that are given are used."""
    return asked["loss"] or ("mse" if asked["labels"] is None else "labels")


RATE, COARSE_RATE, COARSE = 0.001, 0.005, 16
"""Rates in steps of a grid, and the number of codes up to which the second one is the default: a
refined file of 8 bits has little to gain and is soon undone, one of 4 bits has more of both."""


def _rate(asked: FinetuneOptions, planned: Planned) -> float:
    coarse = planned.target.weights.levels <= COARSE
    return asked["lr"] or (COARSE_RATE if coarse else RATE)


def _train(qat: "Qat", source: Fitted, asked: FinetuneOptions, state: Path | None) -> Result:
    from oq.training.supply import Supply
    from oq.training.tuning import Lessons, Tuner

    started = qat.started
    recalibration = started.run.recalibration
    planned = recalibration.planned
    sizing = size_refinement(recalibration)
    used, held = split_samples(source, planned.target.verified_in, asked["seed"])
    supply = Supply(used, asked["train_batch"], sizing.limit // SHARES, asked["seed"])
    judge = _judge(started, held, sizing)
    lessons = Lessons(
        *(asked["epochs"], asked["minutes"], _rate(asked, planned)),
        *(_loss(asked), asked["augment"], asked["seed"]),
    )
    labelled = tuple(held.batches(BATCH)) if lessons.loss == "labels" else ()
    tuner = Tuner(qat, judge, supply, lessons, labelled, state, asked["watch"])
    with started.clock.stage("finetune"):
        outcome = tuner.run()
    run = started.run
    told = replace(run.refined, outcomes=(*run.refined.outcomes, outcome))
    made = {"epochs": tuner.epochs, "minutes": None, "loss": lessons.loss}
    settled: Any = {**asked, **made, "lr": lessons.rate, "format": None}
    done = replace(started, asked=settled, run=replace(run, refined=told))
    return conclude(done, qat.write())


def _judge(started: Started, held: Fitted, sizing: Sizing) -> Judge:
    """The judge of the refinement steps, on the samples that these were judged on too."""
    subject = started.run.refined.subject
    feeds = feeds_to_judge(held, subject.view, sizing, started.asked["seed"])
    engine = started.chosen.target.verified_in
    at_once = sizing.beside(Batch(feeds[0]), cores())
    return Judge(subject.model, subject.view, feeds, engine, at_once)
