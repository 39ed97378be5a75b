"""Per-channel statistics of the float model's tensors: extremes and means over samples."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import TypeVar

import numpy as np
import onnx

from oq.data.sizing import Sizing
from oq.model.session import Session, Settings, expose
from oq.numerics.values import Array, Batch
from oq.parallel import parallel_map
from oq.planning.layers import find_layers
from oq.refine.joined import find_ends
from oq.refine.subject import Feeds, Subject

WAITING = 8
"""Batches in flight at once: memory does not grow with the number of samples."""

Part = TypeVar("Part")


def channel_extremes(
    model: onnx.ModelProto,
    axes: Mapping[str, int],
    samples: Iterable[Feeds],
    sizing: Sizing | None = None,
) -> dict[str, tuple[Array, Array]]:
    """(min, max), both (channels,), of each tensor of ``axes`` along its channel axis; as many
    batches run side by side as ``sizing`` allows."""
    return {
        name: (np.min([lo for lo, _ in parts], axis=0), np.max([hi for _, hi in parts], axis=0))
        for name, parts in _parts(model, axes, samples, _ends, sizing).items()
    }


def float_means(subject: Subject) -> dict[str, Array]:
    """``E[output[c]]``, float64 (channels,), of every quantized layer of the float model, by node:
    over the samples of the step and all positions, behind the node of :func:`find_ends` if there is
    one.  Computed once per float model."""
    if subject.means:
        return dict(subject.means)
    layers = list(find_layers(subject.view, subject.plan))
    ends = find_ends(subject)
    tensors = {x.node: subject.view.node(ends.get(x.node, x.last)).outputs[0] for x in layers}
    axes = {tensors[x.node]: x.axis for x in layers}
    parts = _parts(subject.exact(), axes, subject.samples, _sums, subject.sizing)
    with np.errstate(invalid="ignore"):
        means = {
            t: sum(s for s, _ in found) / sum(n for _, n in found) for t, found in parts.items()
        }
    return {node: np.asarray(means[tensor]) for node, tensor in tensors.items()}


def channel_sums(values: Array, axis: int) -> Array:
    """The sum of ``values`` over all axes but ``axis``: (channels,), float64.

    Trailing axes are summed pairwise in float32, which is twice as fast.
    """
    rows = between(values, axis).sum(axis=2, dtype=np.result_type(values.dtype, np.float32))
    return np.asarray(rows.sum(axis=0, dtype=np.float64))


def between(values: Array, axis: int) -> Array:
    """``values`` reshaped to (axes before ``axis``, channel, axes after it).

    NumPy reduces its last axis much faster than several at once.
    """
    at = axis % values.ndim
    front, behind = values.shape[:at], values.shape[at + 1 :]
    return values.reshape(prod(front), values.shape[at], prod(behind))


def _parts(
    model: onnx.ModelProto,
    axes: Mapping[str, int],
    samples: Iterable[Feeds],
    of: Callable[[Array, int], Part],
    sizing: Sizing | None,
) -> dict[str, list[Part]]:
    """``of`` each batch of each tensor of ``axes`` (values, channel axis)."""
    names = tuple(axes)
    if not names:  # onnxruntime wants an output to compute
        return {}
    session = Session(expose(model, names), Settings(threads=1))

    def work(feeds: Feeds) -> list[Part]:
        values = session.run(feeds, names)
        return [of(v, axes[name]) for name, v in zip(names, values, strict=True)]

    found: dict[str, list[Part]] = {name: [] for name in names}
    for group in _groups(samples, sizing):
        for parts in parallel_map(work, group):
            for name, part in zip(names, parts, strict=True):
                found[name].append(part)
    return found


def _ends(values: Array, axis: int) -> tuple[Array, Array]:
    parts = between(values, axis)
    return parts.min(axis=2).min(axis=0), parts.max(axis=2).max(axis=0)


def _sums(values: Array, axis: int) -> tuple[Array, int]:
    total = channel_sums(values, axis)
    return total, values.size // max(total.size, 1)


def _groups(samples: Iterable[Feeds], sizing: Sizing | None) -> Iterator[Sequence[Feeds]]:
    group: list[Feeds] = []
    most = WAITING
    for feeds in samples:
        group.append(feeds)
        if sizing is not None:
            most = sizing.beside(Batch(feeds), WAITING)
        if len(group) >= most:
            yield group
            group = []
    yield group
