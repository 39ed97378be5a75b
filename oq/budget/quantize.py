"""``oq.quantize``: the pipeline, or the search where there is a budget."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

from oq import pipeline
from oq.budget.search import search
from oq.data.source import Data
from oq.errors import OptionError
from oq.exporting.load import Model
from oq.options.keywords import QuantizeOptions, SearchOptions, complete, documented, options_of
from oq.pipeline import Result


@documented(SearchOptions)
def quantize(
    model: Model,
    target: str,
    data: Data | None = None,
    *,
    max_drop: float | None = None,
    **options: Unpack[SearchOptions],
) -> Result:
    """Quantize ``model`` for ``target``, calibrated on ``data`` (:mod:`oq.data.source`).

    A torch module is exported first (:mod:`oq.exporting.export`).  ``settings`` of a calibrator are
    called ``field``, or ``name.field`` where it is not the run's default one.  A finished ``cache``
    needs no ``data``.  With ``verify`` every eighth sample (64 at most) is held back from
    calibration and both models are compared on them; refinement learns from the others and is
    judged on those, verified or not.

    With ``max_drop``, layers stay in float until no more points of top-1, or of ``metric``, are
    lost: :func:`oq.search`, which can also go on from where an earlier run stopped.
    ``result.report.search`` says whether the budget was met.

    Raises:
        OqError: the model, the data or an option cannot be used; the message says why.
    """
    complete(SearchOptions, options)  # unknown ones are refused before any work
    if max_drop is not None:
        with TemporaryDirectory(prefix="oq-") as folder:
            path = Path(folder) / "model.onnx"
            return _unplaced(search(model, target, data, path, max_drop=max_drop, **options))
    plain: dict[str, Any] = dict(options)
    for name in options_of(SearchOptions).keys() - options_of(QuantizeOptions).keys():
        if plain.pop(name, None) is not None:
            raise OptionError(f"{name} is for max_drop, which is not given")
    return pipeline.quantize(model, target, data, **plain)


def _unplaced(result: Result) -> Result:
    """``result`` without the paths of a file that the user has not saved yet."""
    found = result.report.search
    told = None if found is None else replace(found, journal="")
    report = replace(result.report, output=None, next_step="", search=told, written=())
    return replace(result, report=report)
