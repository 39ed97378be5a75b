"""``oq.calibrate``: statistics for every calibrator, of all samples or of a part of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oq.calibration.job import EVERYTHING, Job, Measured
from oq.calibration.measure import measure
from oq.data.dealing import Shard
from oq.data.samples import feed_defaults, in_float32, open_samples
from oq.data.source import Fitted
from oq.distributed.cluster import check_ray, open_workers
from oq.errors import OptionError
from oq.exporting.load import Model, load
from oq.model.input_shapes import Shapes
from oq.model.session import Settings
from oq.parallel import Workers
from oq.planning.overrides import make_overrides
from oq.planning.setup import own_target, plan_model, tensors_to_calibrate
from oq.progress import Counter, Watch


def calibrate(
    model: Model,
    target: str,
    data: object,
    cache: str | Path,
    *,
    samples: int | None = None,
    batch_size: int | None = None,
    preprocess: str | Path | None = None,
    shape: Shapes | None = None,
    keep_float: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    max_memory: int | None = None,
    provider: str = "cpu",
    shard: str | None = None,
    ray: str | Workers | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Measured:
    """Statistics only, into ``cache``: all that any calibrator reads, in one pass.

    Goes on where an interrupted run stopped.  ``oq.quantize(..., cache=cache)`` without ``data``
    then makes a file with any calibrator at once.

    ``shard="3/16"``: only that part of the samples, into a cache of its own, which ``oq calibrate
    --merge`` joins with those of the other parts.  ``ray``: parts are run by the CPUs of a Ray
    cluster (its address, ``auto``, or ``local``); a run that is stopped begins again.  The cache is
    that of one run either way, byte for byte.

    Raises:
        OqError: as :func:`oq.quantize`.
    """
    part = None if shard is None else Shard.parse(shard)
    if part is not None and ray is not None:
        raise OptionError("--shard is one part by hand, and --ray deals out all: give one of them")
    check_ray(ray, provider)
    loaded = load(model, shapes=shape)
    source = open_samples(loaded, data, preprocess, samples, seed)
    loaded = feed_defaults(loaded, source)
    planned = plan_model(loaded, own_target(target, settings), make_overrides(keep_float))
    job = Job(
        planned.model,
        planned.view,
        dict.fromkeys(tensors_to_calibrate(planned.plan, planned.view), EVERYTHING),
        batch_size,
        Settings(provider=provider),
        drawn=f"{samples} {seed} {False}",
        max_memory=max_memory,
        progress=Counter("calibrate", _count(source, part), watch),
        shard=part,
    )
    with open_workers(ray) as workers:
        used = in_float32(source, planned.own.inputs)
        return measure(replace(job, workers=workers), used, Path(cache))


def _count(source: Fitted, part: Shard | None) -> int | None:
    """The number of samples to measure, about; None if it is not known."""
    return source.count if source.count is None or part is None else source.count // part.of
