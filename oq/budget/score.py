"""Measures the drop: top-1 accuracy on labelled data, or else agreement with the float model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from oq.comparison.compare import Verification, compare
from oq.data.samples import BATCH
from oq.data.sizing import SESSIONS, Sizing
from oq.data.source import Fitted, has_labels, open_source
from oq.errors import OptionError
from oq.model.footprint import Footprint
from oq.model.proto_fields import feedable
from oq.model.session import Settings
from oq.planning.target import Target
from oq.reporting.verdict import AGREEMENT, TOP1


@dataclass(frozen=True, slots=True)
class Score:
    """Compares quantized models with ``exact`` on ``source`` in ``engine``; None: on the samples
    held out for verification."""

    exact: onnx.ModelProto
    source: Fitted | None
    engine: str
    batch_size: int
    provider: str

    @property
    def metric(self) -> str:
        """What the drop is of."""
        return AGREEMENT if self.source is None else TOP1

    def drop(self, quantized: onnx.ModelProto, verified: Verification | None) -> float:
        """Points lost, in the worse of the two modes; ``verified`` is the result on held-out
        samples.

        Raises:
            OptionError: the model is no classifier.
        """
        if self.source is None:
            readings = () if verified is None else (verified.deployed, verified.literal)
            agreements = [votes.agreement for r in readings for votes in r.classes]
            if not agreements:
                raise OptionError("--max-drop needs a model whose outputs are scores of classes")
            return 100.0 - min(agreements)
        sizing = Sizing(Footprint(self.exact), wanted=self.batch_size, models=SESSIONS)
        found = compare(
            self.exact,
            quantized,
            self.source.batches(sizing),
            settings=Settings(provider=self.provider),
            engine=self.engine,
            latency=False,
        )
        if found.drop is None:
            raise OptionError("--max-drop needs a model whose outputs are scores of classes")
        return found.drop

    def words(self, verified: Verification | None, max_drop: float) -> str:
        """How the drop is measured, and whether the number of samples resolves ``max_drop``."""
        if self.source is None:
            many = 0 if verified is None else verified.samples
            text = (
                f"top-1s unlike the float model's, in percent of {many:,} held-back calibration "
                "samples; no --eval-data, so not accuracy"
            )
        else:
            many = self.source.count or 0
            text = f"top-1 accuracy on {f'{many:,} samples of ' if many else ''}{self.source.name}"
        if many and 100 / many > max_drop:
            text += f"; one sample is {100 / many:.2g} points, more than the budget"
        return text


def make_score(
    exact: onnx.ModelProto,
    profile: Target,
    eval_data: object,
    labels: Path | None,
    options: Mapping[str, Any],
) -> Score:
    """The score for the user's ``eval_data``.

    Raises:
        OptionError: the data has no labels.
        DataError: the data cannot be used.
    """
    source = None
    if eval_data is not None:
        preprocess = options.get("preprocess")
        source = open_source(eval_data, feedable(exact), preprocess=preprocess, labels=labels)
        if not has_labels(source):
            raise OptionError(
                f"--eval-data {source.name} has no labels, which --max-drop needs: key 'labels' in "
                "an .npz, or --labels FILE.csv with a folder of images; without --eval-data, "
                "agreement on held-back calibration samples is used"
            )
    elif labels is not None:
        raise OptionError("--labels are those of --eval-data, which is missing")
    size = options.get("batch_size")
    provider = options.get("provider", "cpu")
    return Score(exact, source, profile.verified_in, BATCH if size is None else size, provider)
