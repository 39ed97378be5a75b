"""(model, plan, samples) -> Statistics per tensor; exposes only what the plan asks for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import onnx

from oq.errors import DataError
from oq.session import Session, Settings, expose
from oq.spec import Array, Batch, Own, Plan
from oq.statistics import EMPTY, Statistics, merge, observe
from oq.view import GraphView

Progress = Callable[[int], None]
"""Called with the number of samples done so far."""


def tensors_to_calibrate(plan: Plan, view: GraphView) -> tuple[str, ...]:
    """The tensors whose range must be measured: own grids on values that are not constants."""
    wanted = [s.tensor for s in plan.sites if isinstance(s.spec, Own)]
    return tuple(dict.fromkeys(t for t in wanted if not view.is_constant(t)))


def collect(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    batches: Iterable[Batch],
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> dict[str, Statistics]:
    """Fold every batch into the statistics of ``tensors``, one batch in memory at a time.

    Raises:
        DataError: there are no samples, or the model fails on one.
    """
    statistics = dict.fromkeys(tensors, EMPTY)
    done = 0
    for size, values in _activations(model, tensors, batches, settings):
        for tensor, array in values.items():
            statistics[tensor] = merge(statistics[tensor], observe(array))
        done += size
        if progress is not None:
            progress(done)
    if done == 0:
        raise DataError("the calibration data holds no samples")
    return statistics


def _activations(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    batches: Iterable[Batch],
    settings: Settings | None,
) -> Iterator[tuple[int, Mapping[str, Array]]]:
    """Per batch: its number of samples, and the values of ``tensors``."""
    fed = {i.name for i in model.graph.input}
    computed = [t for t in tensors if t not in fed]
    session = Session(expose(model, computed), settings) if computed else None
    for batch in batches:
        values = {t: batch.feeds[t] for t in tensors if t in fed}
        if session is not None:
            values |= zip(computed, session.run(batch.feeds, computed), strict=True)
        yield batch_size(batch), values


def batch_size(batch: Batch) -> int:
    """Samples in ``batch``: the length of the first axis of its first input (1 for a scalar)."""
    first = next(iter(batch.feeds.values()))
    return int(first.shape[0]) if first.ndim else 1
