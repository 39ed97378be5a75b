"""Error by layer: every tensor that exists in a float model and in its quantized version.

Tensors are matched by name (:mod:`oq.comparison.shared_tensors`), so this works for files of any
tool that keeps names.  With f the float model's value of a tensor and q the quantized model's
(literal mode),

    SQNR = 10 log10(sum f^2 / sum (f - q)^2)

contains the accumulated error up to that tensor; :mod:`oq.comparison.error_shares` has the error
that the tensor's own layer adds, and its share of the output error.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from oq.checks.unpack_qoperators import as_qdq
from oq.comparison.deviation import sqnr_db
from oq.comparison.error_shares import Pair, estimate_shares, take_few
from oq.comparison.shared_tensors import Shared, run_both, shared_tensors
from oq.errors import DataError
from oq.model.footprint import MAX_MEMORY, Footprint
from oq.model.graph import Graph
from oq.model.session import infer
from oq.model.view import GraphView
from oq.numerics.values import FLOAT_DTYPES, Array, Batch, TensorInfo

Batches = Callable[[], Iterable[Batch]]
"""A function that returns the same batches each time it is called."""

PARTS = 4
"""What is compared takes a fourth of the limit: beside the values of a batch in both models, the
sessions that give them hold their own."""

REMEMBERED = 32
"""Samples that :class:`Remembered` keeps."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """One tensor.  Real values; shares in percent.

    ``node``: the float model's node that computes it ("" for a graph input).  ``lo``, ``hi``:
    extremes in the float model.  ``clipped``: the percentage of the float model's values that lie
    outside the quantized range by half a step or more; None if it is not quantized.  ``added_db``:
    SQNR of the error that this tensor's layer adds, ``sum f^2 / sum d^2`` (inf: none).  ``share``:
    of the output error.

    ``alike`` False: the values of the two models differ by a scale and a shift per channel
    (BatchNorm folded in one of them, equalization), so they cannot be compared; such a tensor has
    no ``added_db`` and no share.
    """

    tensor: str
    node: str
    sqnr_db: float
    cosine: float
    lo: float
    hi: float
    clipped: float | None
    added_db: float | None = None
    share: float | None = None
    alike: bool = True


@dataclass(slots=True)
class Remembered:
    """Passes batches through and keeps the first :data:`REMEMBERED` samples, so that the layers of
    a collapsed model can be examined."""

    batches: Iterable[Batch]
    kept: list[Batch] = field(default_factory=list)

    def __iter__(self) -> Iterator[Batch]:
        room = REMEMBERED
        for batch in self.batches:
            if room > 0:
                self.kept.append(batch)
                room -= batch.samples
            yield batch


def remember(batches: Iterable[Batch]) -> list[Batch]:
    """The batches that :class:`Remembered` would keep; no more are read."""
    seen = Remembered(batches)
    for _ in seen:
        if sum(batch.samples for batch in seen.kept) >= REMEMBERED:
            break
    return seen.kept


@dataclass(slots=True)
class _Look:
    """Running sums of one tensor; ``moments`` as :func:`_moments` gives them."""

    lo: float = float("inf")
    hi: float = float("-inf")
    beyond: int = 0
    count: int = 0
    resized: bool = False
    moments: Array = field(default_factory=lambda: np.zeros((7, 1)))

    def add(self, exact: Array, found: Array, ends: tuple[float, float] | None) -> None:
        self.resized = self.resized or exact.shape != found.shape
        if exact.size == 0 or exact.shape != found.shape:
            return
        self.lo, self.hi = min(self.lo, float(exact.min())), max(self.hi, float(exact.max()))
        self.count += exact.size
        if ends is not None and (float(exact.min()) < ends[0] or float(exact.max()) > ends[1]):
            self.beyond += int(np.count_nonzero((exact < ends[0]) | (exact > ends[1])))
        added = _moments(exact, found)
        if added.shape[1] != self.moments.shape[1]:  # the first batch, or channels of free number
            added, self.moments = (
                (added, np.zeros(added.shape))
                if not self.moments[0].any()
                else (a.sum(axis=1, keepdims=True) for a in (added, self.moments))
            )
        self.moments = self.moments + added


def compare_layers(
    float_model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    batches: Batches,
    *,
    limit: int = MAX_MEMORY * 10**6,
    progress: Callable[[int], None] | None = None,
) -> tuple[LayerError, ...]:
    """Every shared float tensor, largest share of the output error first.  Integer operators are
    read as the Q/DQ that they stand for.

    Memory depends on the size of a batch, not on the number of samples: tensors are processed in
    several passes if those of one batch would exceed a part of ``limit`` bytes.

    Raises:
        DataError: there are no samples, or a model fails on one.
    """
    view, quantized = Graph(float_model).view(), as_qdq(quantized)
    shared, types = _real(float_model, shared_tensors(view, Graph(quantized).view()))
    looks = {t.name: _Look() for t in shared}
    first = next(iter(batches()), None)
    if first is None:
        raise DataError("there are no samples to compare layers on")
    sizes = Footprint(float_model, types).of(first)
    most = limit // PARTS
    for group in _groups(shared, sizes, most // 2):
        done = 0
        for batch, exact, found in run_both(float_model, quantized, group, batches()):
            for tensor in group:
                looks[tensor.name].add(exact[tensor.name], found[tensor.copy], tensor.ends)
            done += batch.samples
            if progress is not None:
                progress(done)
    rows = {t.name: _row(t, looks[t.name]) for t in shared if looks[t.name].count}
    unlike = {n for n in rows if _means_something_else(n, view, rows, looks[n])}
    # a layer is fed what both models give it; it cannot be fed another number of boxes
    unlike |= {n for n in rows if looks[n].resized}
    usable = [t for t in shared if t.name in rows and t.name not in unlike]
    few = take_few(batches(), most * first.samples // max(sum(sizes[t.name] for t in shared), 1))
    times = sum(b.samples for b in few) / first.samples
    like: dict[str, Array | np.dtype[Any]] = {n: v for n, v in first.feeds.items() if n in rows}
    like |= {n: _like(types[n]) for n in rows if n in types}
    models = Pair(float_model, quantized, view, like)
    added, errors = estimate_shares(models, usable, _groups(usable, sizes, most / times), few)
    total = sum(errors.values())
    finished = [
        replace(row, alike=False)
        if name in unlike
        else replace(row, added_db=added[name], share=100 * errors[name] / total if total else 0.0)
        for name, row in rows.items()
    ]
    return tuple(sorted(finished, key=lambda r: (-(r.share or 0.0), not r.alike, r.sqnr_db)))


def _real(
    model: onnx.ModelProto, shared: Sequence[Shared]
) -> tuple[list[Shared], dict[str, TensorInfo]]:
    """Those of ``shared`` that hold real values, as onnxruntime infers types, and their types."""
    computed = [t.name for t in shared if t.node]
    types = infer(model, computed) if computed else {}
    kept = [t for t in shared if not t.node or types[t.name].dtype in FLOAT_DTYPES]
    return kept, types


def _like(info: TensorInfo) -> Array | np.dtype[Any]:
    """An empty array of the type and number of axes of ``info``; the type where it has none."""
    kind = np.dtype(info.dtype)
    return kind if info.shape is None else np.empty([0] * len(info.shape), kind)


def _groups(
    shared: Sequence[Shared], sizes: Mapping[str, int], most: float
) -> Iterator[list[Shared]]:
    """``shared`` in parts whose values of one batch take ``most`` bytes."""
    group: list[Shared] = []
    room = most
    for tensor in shared:
        size = sizes.get(tensor.name, 0)
        if group and size > room:
            yield group
            group, room = [], most
        group.append(tensor)
        room -= size
    if group:
        yield group


def _row(tensor: Shared, look: _Look) -> LayerError:
    _, _, _, ff, qq, fq, dd = look.moments.sum(axis=1)
    length = np.sqrt(ff * qq)
    return LayerError(
        tensor.name,
        tensor.node,
        sqnr_db(ff, dd),
        min(1.0, fq / length) if length > 0 else float(ff == qq),
        look.lo,
        look.hi,
        None if tensor.ends is None else 100.0 * look.beyond / look.count,
    )


# -- tensors of one name and two meanings ----------------------------------------------------

UNLIKE_DB = 10.0
"""Decibels: a tensor with a lower SQNR may differ by a scale and a shift per channel, if what lies
behind is as much better."""

FITTED_DB = 5.0
"""Decibels that fitting such a scale and shift must gain: what remains is the error of
quantization, which may be large itself; on real damage it gains below 1."""


def _moments(exact: Array, found: Array) -> Array:
    """Per channel (axis 1): count, and sums of f, q, f^2, q^2, f q and (f - q)^2; axes (moment,
    channel).  Values that are not finite on either side are left out."""
    channels = exact.shape[1] if exact.ndim > 1 else 1
    f, q = (
        a.reshape(len(a) if exact.ndim else 1, channels, -1).astype(np.float64)
        for a in (exact, found)
    )
    usable = np.isfinite(f) & np.isfinite(q)
    if not usable.all():
        f, q = np.where(usable, f, 0.0), np.where(usable, q, 0.0)
    count = usable.sum(axis=(0, 2)).astype(np.float64)
    d = f - q
    products = [np.einsum("nci,nci->c", a, b) for a, b in ((f, f), (q, q), (f, q), (d, d))]
    return np.stack([count, f.sum(axis=(0, 2)), q.sum(axis=(0, 2)), *products])


def _means_something_else(
    name: str, view: GraphView, rows: Mapping[str, LayerError], look: _Look
) -> bool:
    """Whether a poor SQNR comes from a scale and shift per channel that a later layer takes back.

    Real damage is not taken back: nothing behind the tensor is much better than it.
    """
    own = rows[name].sqnr_db
    if own >= UNLIKE_DB:
        return False
    behind = [rows[t].sqnr_db for t in _downstream(view, name) if t in rows]
    if max(behind, default=own) < own + UNLIKE_DB:
        return False
    n, f, q, ff, qq, fq, _ = look.moments
    n = np.maximum(n, 1.0)
    spread_f, spread_q, common = ff - f * f / n, qq - q * q / n, fq - f * q / n
    # f from q and not the other way round: a channel that was lost explains nothing
    with np.errstate(divide="ignore", invalid="ignore"):
        explained = np.where(spread_q > 0, common * common / spread_q, 0.0)
    left = np.maximum(spread_f - explained, 0.0)
    return sqnr_db(float(spread_f.sum()), float(left.sum())) >= own + FITTED_DB


def _downstream(view: GraphView, tensor: str) -> set[str]:
    """All tensors computed from ``tensor``."""
    found: set[str] = set()
    frontier = [tensor]
    while frontier:
        for node in view.consumers(frontier.pop()):
            fresh = [t for t in node.outputs if t and t not in found]
            found.update(fresh)
            frontier += fresh
    return found
