"""Short remarks on a run: what calibrated it, what to try next."""

from pathlib import Path

from oq.data.sampling import RANDOM as RANDOM_NAME
from oq.data.source import Fitted
from oq.ready import Model


def remedy(
    model: Model, target: str | None, data: object, preprocess: str | Path | None = None
) -> str:
    """The command that finds the layers to blame."""
    target = "TARGET" if target is None else target
    given = str(model) if isinstance(model, str | Path) else "MODEL.onnx"
    samples = str(data) if isinstance(data, str | Path) else "DATA"
    fit = f" --preprocess {preprocess}" if isinstance(preprocess, str | Path) else ""
    return f"oq sensitivity {given} --target {target} --data {samples}{fit}"


def describe_data(source: Fitted | None, cache: object, ranges: object) -> str:
    """What calibrated a run, in a word."""
    given = (None if source is None else source.name, cache, ranges)
    return next((str(g) for g in given if g is not None), "none")


def loudly(source: Fitted | None) -> tuple[str, ...]:
    """What must be said of random data."""
    if source is None or source.name != RANDOM_NAME:
        return ()
    return ("CALIBRATED ON RANDOM NUMBERS: the ranges mean nothing; do not ship this file",)
