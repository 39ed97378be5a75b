"""The calibration cache: statistics on disk that can be reused, resumed and merged.

One file (NumPy's npz, no pickle) has the statistics of every tensor and a header that identifies
the model, plan, data and preprocessing.  A cache of something else is refused with the reason; an
unfinished one is resumed; shards merge exactly, because statistics do
(:mod:`oq.numerics.statistics`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx

from oq.calibration.collect import Needs
from oq.calibration.packing import BROKEN, digest_arrays, pack, unpack
from oq.errors import DataError, OptionError
from oq.model.files import check_writable, replacing
from oq.model.wire import write_full
from oq.numerics.statistics import Need, Statistics, merge_all

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Key:
    """Identifies the contents of a cache: SHA-256 digests in hexadecimal.

    ``model``: the prepared float model.  ``data``: the samples, their preprocessing and the
    selection of samples.  ``target``: which one the model was prepared for, for messages alone.
    """

    model: str
    data: str
    target: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Cache:
    """Statistics and their key; ``samples`` are included, ``complete`` or not.

    ``needs``: the tensors that were requested, and the statistics of each.  ``shards``: those that
    are included, where not all are; their key is that of the whole.
    """

    key: Key
    needs: Needs
    samples: int
    complete: bool
    statistics: Mapping[str, Statistics]
    shards: "Shards | None" = None


@dataclass(frozen=True, slots=True)
class Shards:
    """Some of ``of`` parts that the samples are dealt out in: ascending ``numbers``, from 1."""

    numbers: tuple[int, ...]
    of: int

    @property
    def lacking(self) -> tuple[int, ...]:
        """The numbers of the parts that are missing."""
        return tuple(sorted({*range(1, self.of + 1)} - {*self.numbers}))

    def __str__(self) -> str:
        return f"{spans(self.numbers)} of {self.of}"


def spans(numbers: Sequence[int]) -> str:
    """Ascending ``numbers`` in words.

    >>> spans([1, 2, 3, 7])
    '1-3, 7'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def make_key(model: onnx.ModelProto, data: str, target: str = "") -> Key:
    """The key of a calibration; ``data`` is the fingerprint of its samples."""
    hashed = hashlib.sha256()
    write_full(model, hashed.update)
    return Key(hashed.hexdigest(), data, target)


def save_cache(cache: Cache, path: str | Path) -> None:
    """Write ``cache`` to a temporary file beside ``path`` and rename it."""
    path = Path(path)
    check_writable(path)
    packed = pack(cache.statistics)
    header = {
        "format": FORMAT,
        "key": asdict(cache.key),
        "needs": {t: sorted(n.value for n in need) for t, need in cache.needs.items()},
        "samples": cache.samples,
        "complete": cache.complete,
        "digest": digest_arrays(packed),
    }
    if cache.shards is not None:
        header["shards"] = asdict(cache.shards)
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
        if header["digest"] != digest_arrays(arrays):  # zip checks contents, but not names
            raise ValueError("the arrays are not those that were saved")
        needs = {t: frozenset(Need(n) for n in need) for t, need in header["needs"].items()}
        key, part = Key(**header["key"]), header.get("shards")
        shards = None if part is None else Shards(tuple(part["numbers"]), part["of"])
        return Cache(key, needs, header["samples"], header["complete"], unpack(arrays), shards)
    except BROKEN as error:
        raise DataError(f"{str(path)!r} is not a calibration cache, or it is damaged") from error


def check_key(found: Cache, wanted: Key, path: str | Path, *, data: bool = True) -> None:
    """Refuse a cache with a different key; ``data`` False does not compare the samples.

    Raises:
        DataError: it is stale; the message says in what.
    """
    made, now = found.key.target, wanted.target
    if made and now and made != now and found.key.model != wanted.model:
        raise DataError(
            f"the cache {str(path)!r} was made for target {made}; this run is for {now}; {ADVICE}"
        )
    words = {
        "model": "another model (or the same model with other target options)",
        "data": "other samples or other preprocessing",
    }
    for part, what in words.items():
        if getattr(found.key, part) != getattr(wanted, part) and (data or part != "data"):
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


def check_shards(found: Cache, wanted: Shards | None, path: str | Path) -> None:
    """Refuse a cache of other samples than those ``wanted`` of the whole (None: all).

    Raises:
        DataError: the message says which it holds.
    """
    if found.shards == wanted:
        return
    if found.shards is None:
        raise DataError(f"the cache {str(path)!r} holds all samples, not shard {wanted}; {ADVICE}")
    join = f"join it with {spans(found.shards.lacking)} (--merge)" if wanted is None else ADVICE
    raise DataError(f"the cache {str(path)!r} holds shard {found.shards} alone; {join}")


def merge_caches(paths: Sequence[str | Path]) -> Cache:
    """The caches at ``paths`` merged, one after the other, so that two are in memory at a time:
    shards of one calibration, in any order, or caches of data of their own, with samples in the
    order given.

    Raises:
        DataError: one is unfinished, repeated, or of another model, plan or data than the first.
    """
    if not paths:
        raise OptionError("--merge needs the caches to join")
    whole, seen = load_cache(paths[0]), []
    for i, path in enumerate(paths):
        part = load_cache(path) if i else whole
        if not part.complete:
            raise DataError(
                f"the cache {str(path)!r} is unfinished; run its calibration to the end"
            )
        check_key(part, whole.key, path, data=whole.shards is not None)
        check_needs(part, whole.needs, path)
        if part.key.data in seen and whole.shards is None:
            raise DataError(f"the cache {str(path)!r} holds the same samples as another shard")
        if i:
            whole = _join_shard(whole, part, path) if whole.shards else _append(whole, part, path)
        seen.append(part.key.data)
    if whole.shards is not None:
        return whole if whole.shards.lacking else replace(whole, shards=None)
    joined = hashlib.sha256(" ".join(sorted(seen)).encode()).hexdigest()
    return whole if len(paths) == 1 else replace(whole, key=replace(whole.key, data=joined))


def _join_shard(whole: Cache, part: Cache, path: str | Path) -> Cache:
    """``whole`` with another shard of the same samples.

    Raises:
        DataError: it is no such shard, or one that ``whole`` has.
    """
    mine, other = whole.shards, part.shards
    if mine is None or other is None or other.of != mine.of:
        found = "all samples" if other is None else f"shard {other}"
        raise DataError(
            f"the cache {str(path)!r} holds {found}, the first one shard {mine}: those of one "
            "calibration are joined"
        )
    if again := sorted({*mine.numbers} & {*other.numbers}):
        raise DataError(f"the cache {str(path)!r} holds shard {spans(again)} once more")
    return replace(
        whole,
        samples=whole.samples + part.samples,
        statistics=merge_all(whole.statistics, part.statistics),
        shards=replace(mine, numbers=tuple(sorted((*mine.numbers, *other.numbers)))),
    )


def _append(whole: Cache, part: Cache, path: str | Path) -> Cache:
    """``whole`` with the samples of ``part`` behind its own.

    Raises:
        DataError: ``part`` is a shard.
    """
    check_shards(part, None, path)
    moved = {t: _after(s, whole.samples) for t, s in part.statistics.items()}
    return replace(
        whole,
        samples=whole.samples + part.samples,
        statistics=merge_all(whole.statistics, moved),
    )


def _after(statistics: Statistics, samples: int) -> Statistics:
    """``statistics`` of samples that come ``samples`` later."""
    if statistics.batches is None:
        return statistics
    moved = statistics.batches.copy()
    moved[:, 0] += samples
    return replace(statistics, batches=moved)
