"""The zip that both kinds of file are, and what oq has written into it about the model."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oq.errors import ModelError
from oq.numerics.values import TensorInfo

EXTRA = "extra/oq.json"
LIMIT = 1 << 30
"""Bytes of text (a graph, code) that are read at most."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The zip at ``path``, whose files lie below the folder ``root``."""

    path: Path
    root: str
    sizes: Mapping[str, int] = field(repr=False)

    def bytes_of(self, name: str) -> bytes:
        """The file ``name`` below the root.

        Raises:
            ModelError: there is none, or it is damaged.
        """
        if name not in self.sizes:
            raise ModelError(f"{str(self.path)!r} has no file {name!r}: it is damaged")
        try:
            with zipfile.ZipFile(self.path) as held:
                return held.read(self.root + name)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
            raise ModelError(f"{str(self.path)!r} is damaged: {name}: {error}") from error

    def json_of(self, name: str) -> dict[str, Any]:
        """The file ``name`` as a JSON object."""
        if self.sizes.get(name, 0) > LIMIT:
            raise ModelError(f"{str(self.path)!r}: {name} is larger than {LIMIT:,} bytes")
        try:
            found = json.loads(self.bytes_of(name))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{str(self.path)!r} is damaged: {name} is not JSON") from error
        if not isinstance(found, dict):
            raise ModelError(f"{str(self.path)!r} is damaged: {name} is not a JSON object")
        return found


def open_archive(path: Path) -> Archive:
    """The archive at ``path``.

    Raises:
        ModelError: it is none of torch's, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as held:
            listed = held.infolist()
            entries = {e.filename: e.file_size for e in listed}
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} is not an archive of torch: {error}") from error
    if len({e.filename.lower() for e in listed}) != len(listed):
        raise ModelError(f"{str(path)!r} is damaged: it holds two files of one name")
    roots = {name.partition("/")[0] for name in entries}
    if len(roots) != 1:
        raise ModelError(f"{str(path)!r} is not an archive of torch: a zip of several folders")
    root = f"{roots.pop()}/"
    return Archive(path, root, {n.removeprefix(root): size for n, size in entries.items()})


@dataclass(frozen=True, slots=True)
class Said:
    """What ``oq.json`` says: the version of oq, the target, the names of the ONNX file."""

    facts: Mapping[str, str]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


def said_by(archive: Archive) -> Said:
    """What oq wrote into ``archive``.

    Raises:
        ModelError: another tool wrote the file, or what is said makes no sense.
    """
    if EXTRA not in archive.sizes:
        raise ModelError(
            f"{str(archive.path)!r} was not written by oq: names of inputs and outputs are missing "
            f"({EXTRA}); accepted are files of oq deploy"
        )
    found = archive.json_of(EXTRA)
    try:
        facts = {f"oq.{key}": str(found[name]) for key, name in FACTS.items() if found[name]}
        return Said(facts, _infos(found["inputs"]), _infos(found["outputs"]))
    except (KeyError, TypeError) as error:
        raise ModelError(f"{str(archive.path)!r} is damaged: {EXTRA}: {error}") from error


FACTS = {"version": "oq", "target": "target"}


def _infos(told: list[dict[str, Any]]) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(str(t["name"]), t["dtype"], None if t["shape"] is None else tuple(t["shape"]))
        for t in told
    )
