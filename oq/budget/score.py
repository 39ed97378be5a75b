"""Measures the drop: a metric of the user's, top-1 accuracy on labelled data, or else agreement
with the float model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from oq.comparison.compare import TOP1, Verification, compare
from oq.comparison.judged_as import as_target
from oq.comparison.metrics import Figure, open_metric, paired
from oq.data.samples import BATCH, divide, open_samples
from oq.data.sizing import SESSIONS, Sizing
from oq.data.source import Fitted, has_labels, open_source
from oq.errors import OptionError
from oq.model.footprint import Footprint
from oq.model.proto_fields import feedable
from oq.model.session import Settings
from oq.planning.target import Target
from oq.reporting.verdict import AGREEMENT


@dataclass(frozen=True, slots=True)
class Score:
    """Compares quantized models with ``exact`` on ``source`` in ``engine``, by ``figure`` or else
    by top-1; no source: on the samples held out for verification, by their agreement."""

    exact: onnx.ModelProto
    source: Fitted | None
    engine: str
    batch_size: int
    provider: str
    figure: Figure | None = None

    @property
    def metric(self) -> str:
        """What the drop is of."""
        if self.figure is not None:
            return self.figure.name
        return AGREEMENT if self.source is None else TOP1

    def drop(self, quantized: onnx.ModelProto, verified: Verification | None) -> float:
        """Points lost, in the worse of the two modes; ``verified`` is the result on held-out
        samples.

        Raises:
            OptionError: the model is not a classifier, and there is no other metric.
        """
        if self.source is None:
            readings = () if verified is None else (verified.deployed, verified.literal)
            agreements = [votes.agreement for r in readings for votes in r.classes]
            if not agreements:
                raise OptionError(NO_CLASSES)
            return 100.0 - min(agreements)
        sizing = Sizing(Footprint(self.exact), wanted=self.batch_size, models=SESSIONS)
        found = compare(
            self.exact,
            quantized,
            self.source.batches(sizing),
            settings=Settings(provider=self.provider),
            engine=self.engine,
            latency=False,
            figures=() if self.figure is None else (self.figure,),
        )
        lost = found.largest_drop
        if lost is None and self.figure is not None:
            raise OptionError(
                f"--metric {self.figure.name!r} is infinite for a perfect model: no drop of it can "
                "be measured"
            )
        if lost is None:
            raise OptionError(NO_CLASSES)
        return lost[1]

    def words(self, verified: Verification | None, max_drop: float) -> str:
        """How the drop is measured, and whether the number of samples resolves ``max_drop``."""
        if self.source is None:
            many = 0 if verified is None else verified.samples
            text = (
                f"the percentage of {many:,} held-back calibration samples whose top-1 differs "
                "from the float model's; accuracy needs --eval-data"
            )
        else:
            many = self.source.count or 0
            what = "top-1 accuracy" if self.figure is None else self.figure.name
            text = f"{what} on {f'{many:,} samples of ' if many else ''}{self.source.name}"
        if self.figure is None and many and 100 / many > max_drop:
            text += f"; one sample is {100 / many:.2g} points, more than the budget"
        return text


NO_CLASSES = "--max-drop needs a model whose outputs are scores of classes, or a --metric"


def make_score(
    exact: onnx.ModelProto,
    profile: Target,
    data: object,
    judged: "Judged",
    options: Mapping[str, Any],
) -> Score:
    """The score for what the user has to judge by.

    Raises:
        OptionError: the data has no labels, or there is no such metric.
        DataError: the data cannot be used.
    """
    figure = None if judged.metric is None else paired(open_metric(judged.metric))
    source, read = None, {name: options.get(name) for name in ("preprocess", "rename")}
    if judged.data is not None:
        source = open_source(judged.data, feedable(exact), labels=judged.labels, **read)
        if figure is None and not has_labels(source):
            raise OptionError(
                f"--eval-data {source.name} has no labels, which --max-drop needs: key 'labels' in "
                "an .npz (--rename labels=NAME for another), or --labels FILE.csv with a folder of "
                "images; without --eval-data, agreement on held-back calibration samples is used"
            )
    elif judged.labels is not None:
        raise OptionError("--labels are those of --eval-data, which is missing")
    elif figure is not None:
        source = _held_back(exact, data, options)
    size = options.get("batch_size")
    provider = options.get("provider", "cpu")
    shown = BATCH if size is None else size
    return Score(exact, source, as_target(profile).engine, shown, provider, figure)


@dataclass(frozen=True, slots=True)
class Judged:
    """What the user gives to judge files by: ``data`` with ``labels``, and a ``metric``."""

    data: object = None
    labels: str | Path | None = None
    metric: str | None = None


def _held_back(exact: onnx.ModelProto, data: object, options: Mapping[str, Any]) -> Fitted:
    """The samples that a run holds back for verification."""
    seed, preprocess = options.get("seed", 0), options.get("preprocess")
    how = preprocess, options.get("samples"), seed, options.get("rename")
    whole = open_samples(exact, data, *how)
    _, held = divide(whole, seed, True)
    if held is None:
        raise OptionError(f"--metric needs --eval-data: {whole.name} has no samples to hold back")
    return held
