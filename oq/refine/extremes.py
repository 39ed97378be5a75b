"""The extremes of every channel of some tensors over all calibration samples."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx

from oq.session import Session, Settings, cores, expose
from oq.spec import Array
from oq.weights import other_axes

Feeds = Mapping[str, Array]

WAITING = 8
"""Batches in flight at once: memory does not grow with the number of samples."""


def channel_extremes(
    model: onnx.ModelProto, axes: Mapping[str, int], samples: Iterable[Feeds]
) -> dict[str, tuple[Array, Array]]:
    """(lowest, highest), both (channels,), of each tensor of ``axes`` along its channel axis."""
    names = tuple(axes)
    session = Session(expose(model, names), Settings(threads=1))

    def work(feeds: Feeds) -> list[tuple[Array, Array]]:
        return [_ends(v, axes[t]) for t, v in zip(names, session.run(feeds, names), strict=True)]

    found: dict[str, tuple[Array, Array]] = {}
    with ThreadPoolExecutor(cores()) as pool:
        for group in _groups(samples):
            for ends in pool.map(work, group):
                for name, (lo, hi) in zip(names, ends, strict=True):
                    old = found.get(name, (lo, hi))
                    found[name] = (np.minimum(old[0], lo), np.maximum(old[1], hi))
    return found


def _ends(values: Array, axis: int) -> tuple[Array, Array]:
    over = other_axes(values, axis)
    return values.min(axis=over), values.max(axis=over)


def _groups(samples: Iterable[Feeds]) -> Iterable[Sequence[Feeds]]:
    group: list[Feeds] = []
    for feeds in samples:
        group.append(feeds)
        if len(group) == WAITING:
            yield group
            group = []
    yield group
