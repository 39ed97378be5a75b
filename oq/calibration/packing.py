"""Statistics as bytes, without loss: in a cache on disk, and on their way between machines.

A few arrays for all tensors together, compressed (NumPy's npz, no pickle).  Histograms are their
occupied buckets.  Extremes per batch are float32 where those of all tensors are, and the numbers of
batches' first samples, which tensors have in common, are there once.  Numbers are stored byte by
byte (all lowest bytes first), which compresses better.
"""

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from tokenize import TokenError

import numpy as np

from oq.numerics.statistics import BUCKETS, Statistics
from oq.numerics.values import Array

BROKEN = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions of NumPy, zipfile and what reads the arrays for truncated, altered or foreign
bytes."""

NONE = -1
"""The length of what a tensor has no statistics of."""


def digest(statistics: Mapping[str, Statistics]) -> str:
    """SHA-256 of the statistics, which identifies the data as seen by the model; equal for merged
    shards and for a single run."""
    names, found = list(statistics), list(statistics.values())
    arrays = {"names": _text(names), **_plain(found)}
    for i, one in enumerate(found):
        if one.histogram is not None:
            occupied = np.flatnonzero(one.histogram)
            arrays[f"buckets_{i}"] = occupied.astype(np.uint16)
            arrays[f"histogram_{i}"] = one.histogram[occupied]
        if one.batches is not None:
            arrays[f"batches_{i}"] = one.batches
    return digest_arrays(arrays)


def digest_arrays(arrays: Mapping[str, Array]) -> str:
    """SHA-256 of arrays, in the order of their names."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def pack(statistics: Mapping[str, Statistics]) -> dict[str, Array]:
    """All ``statistics`` as a few arrays."""
    found = list(statistics.values())
    return {
        "names": _text(list(statistics)),
        **_plain(found),
        **_pack_histograms([s.histogram for s in found]),
        **_pack_batches([s.batches for s in found]),
    }


def unpack(arrays: Mapping[str, Array]) -> dict[str, Statistics]:
    """What :func:`pack` made arrays of."""
    names = json.loads(arrays["names"].tobytes())
    columns = (arrays["counts"], arrays["extremes"], _histograms(arrays), _batches(arrays))
    statistics: dict[str, Statistics] = {}
    for name, counts, extremes, histogram, batches in zip(names, *columns, strict=True):
        (count, nonfinite, masked), (lo, hi) = map(int, counts), map(float, extremes)
        statistics[name] = Statistics(count, nonfinite, lo, hi, masked, histogram, batches)
    return statistics


def to_bytes(statistics: Mapping[str, Statistics]) -> bytes:
    """``statistics``, packed and compressed."""
    return _write(pack(statistics))


def from_bytes(packed: bytes) -> dict[str, Statistics]:
    """What :func:`to_bytes` made bytes of."""
    return unpack(_read(packed))


def join_bytes(several: Sequence[bytes]) -> bytes:
    """:func:`oq.numerics.statistics.merge` of all of them, for statistics of the same tensors in
    the same order; histograms are never laid out whole, which takes half a megabyte each."""
    parts = [_read(one) for one in several]
    if len(parts) == 1 or not len(parts[0]["counts"]):
        return several[0]
    lows, highs = (np.stack([p["extremes"][:, i] for p in parts]) for i in (0, 1))
    return _write(
        {
            "names": parts[0]["names"],
            "counts": np.sum([p["counts"] for p in parts], axis=0),
            "extremes": np.stack([lows.min(axis=0), highs.max(axis=0)], axis=1),
            **_join_histograms(parts),
            **_pack_batches([*map(_in_order, *map(_batches, parts))]),
        }
    )


def _write(arrays: Mapping[str, Array]) -> bytes:
    made = io.BytesIO()
    np.savez_compressed(made, allow_pickle=False, **arrays)
    return made.getvalue()


def _read(packed: bytes) -> dict[str, Array]:
    with np.load(io.BytesIO(packed), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _text(names: Sequence[str]) -> Array:
    return np.frombuffer(json.dumps(names).encode(), np.uint8)


def _plain(found: Sequence[Statistics]) -> dict[str, Array]:
    """What all tensors have, one row each."""
    counts = [(s.count, s.nonfinite, s.masked) for s in found]
    return {
        "counts": np.array(counts, np.int64),
        "extremes": np.array([(s.lo, s.hi) for s in found], np.float64),
    }


def _pack_histograms(found: Sequence[Array | None]) -> dict[str, Array]:
    """Occupied buckets as steps from one to the next, and their counts."""
    occupied = [None if h is None else np.flatnonzero(h) for h in found]
    counts = [h[o] for h, o in zip(found, occupied, strict=True) if h is not None]
    buckets = [o for o in occupied if o is not None]
    return _columns(_lengths(occupied), _flat(buckets), _flat(counts))


def _flat(parts: Sequence[Array]) -> Array:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _columns(lengths: Array, buckets: Array, counts: Array) -> dict[str, Array]:
    """``lengths`` (tensor,) of the lists of ``buckets`` and ``counts`` (occupied bucket,)."""
    steps = np.diff(buckets, prepend=0)
    starts = np.cumsum(np.maximum(lengths, 0))[:-1]
    starts = starts[starts < len(steps)]
    steps[starts] = buckets[starts]  # the first of a tensor as it is
    return {"occupied": lengths, "buckets": _planes(steps), "histograms": _planes(counts)}


def _buckets(arrays: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    """What :func:`_columns` made arrays of."""
    lengths, steps = arrays["occupied"], _joined(arrays["buckets"], np.int64)
    totals = np.concatenate([[0], np.cumsum(steps)])
    held = np.maximum(lengths, 0)
    starts = np.cumsum(held) - held
    return (
        lengths,
        totals[1:] - np.repeat(totals[starts], held),
        _joined(arrays["histograms"], np.int64),
    )


def _histograms(arrays: Mapping[str, Array]) -> Iterable[Array | None]:
    lengths, buckets, counts = _buckets(arrays)
    at = 0
    for length in map(int, lengths):
        if length == NONE:
            yield None
            continue
        histogram = np.zeros(BUCKETS, np.int64)
        histogram[buckets[at : at + length]] = counts[at : at + length]
        at += length
        yield histogram


def _join_histograms(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Counts of the same bucket of the same tensor added."""
    columns = [_buckets(p) for p in parts]
    lengths = np.stack([c[0] for c in columns])
    tensors = np.arange(lengths.shape[1]) * BUCKETS
    keys = [np.repeat(tensors, np.maximum(n, 0)) + b for n, b, _ in columns]
    key, counts = np.concatenate(keys), np.concatenate([c[2] for c in columns])
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    key = key[starts]
    summed = np.add.reduceat(counts[order], starts) if len(starts) else counts
    many = np.bincount(key // BUCKETS, minlength=len(tensors))
    none = (lengths == NONE).all(axis=0)
    return _columns(np.where(none, NONE, many), key % BUCKETS, summed)


def _in_order(*found: Array | None) -> Array | None:
    """Batches of one tensor, ascending."""
    there = [b for b in found if b is not None]
    if not there:
        return None
    rows = np.concatenate(there)
    ordered: Array = rows[np.lexsort(rows.T[::-1])]
    return ordered


def _pack_batches(found: Sequence[Array | None]) -> dict[str, Array]:
    """Extremes of all tensors' batches, and the first samples, each different list of them once."""
    firsts: dict[bytes, int] = {}
    which = [NONE if b is None else firsts.setdefault(_firsts(b), len(firsts)) for b in found]
    numbers = [np.frombuffer(f, np.int64) for f in firsts]
    extremes = np.concatenate([np.zeros((0, 2)), *(b[:, 1:] for b in found if b is not None)])
    narrow = extremes.astype(np.float32)
    exact = np.array_equal(narrow.astype(np.float64), extremes)
    return {
        "firsts": np.array(which, np.int64),
        "batches": _lengths(numbers),
        "numbers": _planes(np.concatenate([np.zeros(0, np.int64), *numbers])),
        "lows_highs" if exact else "lows_highs_64": _planes((narrow if exact else extremes).T),
    }


def _firsts(batches: Array) -> bytes:
    """Steps from each batch's first sample to the next's: the same again and again."""
    return np.diff(batches[:, 0].astype(np.int64), prepend=0).tobytes()


def _batches(arrays: Mapping[str, Array]) -> Iterable[Array | None]:
    ends = np.cumsum(arrays["batches"])
    lists = np.split(_joined(arrays["numbers"], np.int64), ends[:-1])
    is_narrow = "lows_highs" in arrays
    name, dtype = ("lows_highs", np.float32) if is_narrow else ("lows_highs_64", np.float64)
    extremes = _joined(arrays[name], dtype).astype(np.float64).reshape(2, -1)
    at = 0
    for which in map(int, arrays["firsts"]):
        if which == NONE:
            yield None
            continue
        firsts = np.cumsum(lists[which]).astype(np.float64)
        lows, highs = extremes[:, at : at + len(firsts)]
        at += len(firsts)
        yield np.stack([firsts, lows, highs], axis=1)


def _lengths(found: Sequence[Array | None]) -> Array:
    return np.array([NONE if a is None else len(a) for a in found], np.int64)


def _planes(values: Array) -> Array:
    """The bytes of ``values``, axes (byte of a value, value): all lowest bytes first, the highest
    left out where they are all 0."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1)
    planes = np.ascontiguousarray(little.view(np.uint8).reshape(-1, values.dtype.itemsize).T)
    used = np.flatnonzero(planes.any(axis=1))
    return planes[: int(used[-1]) + 1 if len(used) else 1]


def _joined(planes: Array, dtype: type[np.generic]) -> Array:
    """The values that :func:`_planes` made bytes of."""
    little = np.dtype(dtype).newbyteorder("<")
    whole = np.zeros((little.itemsize, planes.shape[1]), np.uint8)
    whole[: len(planes)] = planes
    values: Array = np.ascontiguousarray(whole.T).reshape(-1).view(little).astype(dtype)
    return values
