"""A calibration as it is asked for, and what it gives."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from oq.calibration.collect import Needs, Progress
from oq.calibration.on_device import BATCH as DEVICE_BATCH
from oq.data.dealing import Shard
from oq.data.sizing import ALONE, LARGE, Sizing
from oq.model.footprint import MAX_MEMORY, Footprint
from oq.model.session import Settings
from oq.model.view import GraphView
from oq.numerics.statistics import Need, Statistics
from oq.parallel import Workers
from oq.planning.setup import Planned, all_to_calibrate, float16_tensors, joined_tensors

EVERYTHING = frozenset(Need) - {Need.READERS}
"""The statistics of ``oq calibrate``, which serve every calibrator."""


@dataclass(frozen=True, slots=True)
class Job:
    """A calibration: what is run and what is collected.

    ``max_memory`` is in MB; None is the default, which is exceeded where the data cannot be read
    again, or a single tensor takes more.

    ``batch_size`` None chooses one whose activations fit in the processor's cache, or in the limit
    where a device runs them.  ``sizing`` is
    that of an earlier run, since some calibrators depend on the batches.

    ``drawn`` describes which samples of the data were drawn, for the key of the cache; ``target``
    is named in it.

    ``shard``: only this part of the samples.  ``workers``: what parts of the samples are run by;
    None: all by this process.
    """

    model: onnx.ModelProto
    view: GraphView
    needs: Needs
    batch_size: int | None
    settings: Settings
    drawn: str = ""
    target: str = ""
    max_memory: int | None = None
    progress: Progress | None = None
    sizing: Sizing | None = None
    shard: Shard | None = None
    workers: Workers | None = None


def size_batches(job: Job) -> Sizing:
    """The sizing of the job's batches: its own, or one for the tensors it needs."""
    if job.sizing is not None:
        return job.sizing
    limit = 10**6 * (job.max_memory or MAX_MEMORY)
    known = job.view.tensors
    footprint = Footprint(job.model, known, tuple(t for t in job.needs if t not in known))
    in_order = any(Need.BATCHES in need for need in job.needs.values())
    alone = LARGE if in_order else ALONE
    wanted = job.batch_size or (None if job.settings.provider == "cpu" else DEVICE_BATCH)
    return Sizing(footprint, limit, wanted, frozenset(job.needs), alone=alone)


@dataclass(frozen=True, slots=True)
class Measured:
    """Statistics per tensor, the number of samples, and remarks for the report."""

    statistics: Mapping[str, Statistics]
    samples: int
    notes: tuple[str, ...] = ()


def job_of_everything(
    planned: Planned,
    batch_size: int | None,
    settings: Settings,
    *,
    drawn: str,
    max_memory: int | None,
    shard: Shard | None,
) -> Job:
    """The job of ``oq calibrate``: whatever any calibrator reads of the tensors of the plan, also
    where Concats turn out to stay in float, and all else that ``oq quantize`` measures."""
    tensors = (*all_to_calibrate(planned), *joined_tensors(planned))
    extremes: Needs = dict.fromkeys(float16_tensors(planned), frozenset())
    return Job(
        *(planned.model, planned.view, {**extremes, **dict.fromkeys(tensors, EVERYTHING)}),
        *(batch_size, settings),
        drawn=drawn,
        target=planned.target.name,
        max_memory=max_memory,
        shard=shard,
    )
