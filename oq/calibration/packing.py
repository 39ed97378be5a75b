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
    made = io.BytesIO()
    np.savez_compressed(made, allow_pickle=False, **pack(statistics))
    return made.getvalue()


def from_bytes(packed: bytes) -> dict[str, Statistics]:
    """What :func:`to_bytes` made bytes of."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as file:
        return unpack({name: file[name] for name in file.files})


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
    steps = [np.diff(o, prepend=0).astype(np.uint16) for o in occupied if o is not None]
    counts = [h[np.flatnonzero(h)] for h in found if h is not None]
    return {
        "occupied": _lengths(occupied),
        "buckets": _planes(np.concatenate([np.zeros(0, np.uint16), *steps])),
        "histograms": _planes(np.concatenate([np.zeros(0, np.int64), *counts])),
    }


def _histograms(arrays: Mapping[str, Array]) -> Iterable[Array | None]:
    steps, counts = _joined(arrays["buckets"], np.uint16), _joined(arrays["histograms"], np.int64)
    at = 0
    for length in map(int, arrays["occupied"]):
        if length == NONE:
            yield None
            continue
        histogram = np.zeros(BUCKETS, np.int64)
        histogram[np.cumsum(steps[at : at + length], dtype=np.int64)] = counts[at : at + length]
        at += length
        yield histogram


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
    """The bytes of ``values``, axes (byte of a value, value): all lowest bytes first."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1)
    return np.ascontiguousarray(little.view(np.uint8).reshape(-1, values.dtype.itemsize).T)


def _joined(planes: Array, dtype: type[np.generic]) -> Array:
    """The values that :func:`_planes` made bytes of."""
    little = np.dtype(dtype).newbyteorder("<")
    values: Array = np.ascontiguousarray(planes.T).reshape(-1).view(little).astype(dtype)
    return values
