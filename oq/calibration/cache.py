"""The calibration cache: statistics on disk that can be reused, resumed and merged.

One file (NumPy's npz, no pickle) has the statistics of every tensor and a header that identifies
the model, plan, data and preprocessing.  A cache of something else is refused with the reason; an
unfinished one is resumed; shards merge exactly, because statistics do
(:mod:`oq.numerics.statistics`).
"""

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tokenize import TokenError

import numpy as np
import onnx

from oq.calibration.collect import Needs
from oq.errors import DataError, OptionError
from oq.model.files import check_writable, replacing
from oq.model.wire import write_full
from oq.numerics.statistics import BUCKETS, Need, Statistics, merge_all
from oq.numerics.values import Array

FORMAT = 1

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
"""Exceptions of NumPy, zipfile and the header for a truncated, altered or foreign file."""


@dataclass(frozen=True, slots=True)
class Key:
    """Identifies the contents of a cache: SHA-256 digests in hexadecimal.

    ``model``: the prepared float model.  ``data``: the samples, their preprocessing and the
    selection of samples.
    """

    model: str
    data: str


@dataclass(frozen=True, slots=True)
class Cache:
    """Statistics and their key; ``samples`` are included, ``complete`` or not.

    ``needs``: the tensors that were requested, and the statistics of each.
    """

    key: Key
    needs: Needs
    samples: int
    complete: bool
    statistics: Mapping[str, Statistics]


def make_key(model: onnx.ModelProto, data: str) -> Key:
    """The key of a calibration; ``data`` is the fingerprint of its samples."""
    hashed = hashlib.sha256()
    write_full(model, hashed.update)
    return Key(hashed.hexdigest(), data)


def digest(statistics: Mapping[str, Statistics]) -> str:
    """SHA-256 of the statistics, which identifies the data as seen by the model; equal for merged
    shards and for a single run."""
    return _digest(_pack(statistics))


def _digest(arrays: Mapping[str, Array]) -> str:
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def save_cache(cache: Cache, path: str | Path) -> None:
    """Write ``cache`` to a temporary file beside ``path`` and rename it."""
    path = Path(path)
    check_writable(path)
    packed = _pack(cache.statistics)
    header = {
        "format": FORMAT,
        "key": asdict(cache.key),
        "needs": {t: sorted(n.value for n in need) for t, need in cache.needs.items()},
        "samples": cache.samples,
        "complete": cache.complete,
        "digest": _digest(packed),
    }
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, header=text, **packed)


def load_cache(path: str | Path) -> Cache:
    """The cache at ``path``.

    Raises:
        DataError: it is missing, damaged, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no calibration cache at {str(path)!r}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        arrays.pop("allow_pickle", None)  # NumPy before 2.1 saves the flag as an array
        if header["format"] != FORMAT:
            raise DataError(
                f"{str(path)!r} is a calibration cache of format {header['format']}; this oq "
                f"reads format {FORMAT}: calibrate again"
            )
        if header["digest"] != _digest(arrays):  # zip checks contents, but not names
            raise ValueError("the arrays are not those that were saved")
        needs = {t: frozenset(Need(n) for n in need) for t, need in header["needs"].items()}
        key = Key(**header["key"])
        return Cache(key, needs, header["samples"], header["complete"], _unpack(arrays))
    except BROKEN as error:
        raise DataError(f"{str(path)!r} is not a calibration cache, or it is damaged") from error


def check_key(found: Cache, wanted: Key, path: str | Path, *, data: bool = True) -> None:
    """Refuse a cache with a different key; ``data`` False does not compare the samples.

    Raises:
        DataError: it is stale; the message says in what.
    """
    words = {
        "model": "another model (or the same model with other target options)",
        "data": "other samples or other preprocessing",
    }
    for field, what in words.items():
        if getattr(found.key, field) != getattr(wanted, field) and (data or field != "data"):
            raise DataError(f"the cache {str(path)!r} was made with {what}; {ADVICE}")


def check_needs(found: Cache, wanted: Needs, path: str | Path) -> None:
    """Refuse a cache that lacks a tensor, or statistics that its calibrator needs.

    An unfinished cache can be resumed only with exactly the same needs.

    Raises:
        DataError: the message names the first tensor that is missing.
    """
    if not found.complete and dict(found.needs) != dict(wanted):
        raise DataError(
            f"the cache {str(path)!r} is unfinished and was started for another target, calibrator "
            f"or choice of layers; {ADVICE}"
        )
    for tensor, need in wanted.items():
        if not need <= found.needs.get(tensor, frozenset()) or tensor not in found.needs:
            raise DataError(
                f"the cache {str(path)!r} lacks statistics of tensor {tensor!r}: it was made "
                f"for another target, calibrator or choice of layers; {ADVICE}"
            )


ADVICE = "delete it, or name another --cache"


def merge_caches(paths: Sequence[str | Path]) -> Cache:
    """The shards at ``paths`` merged, with samples in the order given.

    Raises:
        DataError: a shard is unfinished, repeated, or of another model or plan than the first.
    """
    if not paths:
        raise OptionError("--merge needs the caches to join")
    whole, *rest = (load_cache(p) for p in paths)
    seen = {whole.key.data}
    for path, shard in zip(paths, (whole, *rest), strict=True):
        if not shard.complete:
            raise DataError(
                f"the cache {str(path)!r} is unfinished; run its calibration to the end"
            )
    for path, shard in zip(paths[1:], rest, strict=True):
        check_key(shard, whole.key, path, data=False)
        check_needs(shard, whole.needs, path)
        if shard.key.data in seen:
            raise DataError(f"the cache {str(path)!r} holds the same samples as another shard")
        seen.add(shard.key.data)
        moved = {t: _after(s, whole.samples) for t, s in shard.statistics.items()}
        whole = replace(
            whole,
            samples=whole.samples + shard.samples,
            statistics=merge_all(whole.statistics, moved),
        )
    joined = hashlib.sha256(" ".join(sorted(seen)).encode()).hexdigest()
    return whole if len(paths) == 1 else replace(whole, key=replace(whole.key, data=joined))


def _after(statistics: Statistics, samples: int) -> Statistics:
    """``statistics`` of samples that come ``samples`` later."""
    if statistics.batches is None:
        return statistics
    moved = statistics.batches.copy()
    moved[:, 0] += samples
    return replace(statistics, batches=moved)


def _pack(statistics: Mapping[str, Statistics]) -> dict[str, Array]:
    """All statistics as a few arrays; histograms by their occupied buckets."""
    names = list(statistics)
    found = [statistics[n] for n in names]
    arrays: dict[str, Array] = {
        "names": np.frombuffer(json.dumps(names).encode(), np.uint8),
        "counts": np.array([(s.count, s.nonfinite, s.masked) for s in found], np.int64),
        "extremes": np.array([(s.lo, s.hi) for s in found], np.float64),
    }
    for i, one in enumerate(found):
        if one.histogram is not None:
            occupied = np.flatnonzero(one.histogram)
            arrays[f"buckets_{i}"] = occupied.astype(np.uint16)
            arrays[f"histogram_{i}"] = one.histogram[occupied]
        if one.batches is not None:
            arrays[f"batches_{i}"] = one.batches
    return arrays


def _unpack(arrays: Mapping[str, Array]) -> dict[str, Statistics]:
    names = json.loads(arrays["names"].tobytes())
    statistics: dict[str, Statistics] = {}
    for i, name in enumerate(names):
        count, nonfinite, masked = (int(v) for v in arrays["counts"][i])
        lo, hi = (float(v) for v in arrays["extremes"][i])
        histogram = None
        if f"buckets_{i}" in arrays:
            histogram = np.zeros(BUCKETS, np.int64)
            histogram[arrays[f"buckets_{i}"]] = arrays[f"histogram_{i}"]
        statistics[name] = Statistics(
            count, nonfinite, lo, hi, masked, histogram, arrays.get(f"batches_{i}")
        )
    return statistics
