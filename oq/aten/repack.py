"""A torch archive with the same bytes each time: no traces of this process, no order of its own.

An archive is a zip; what torch stores in it differs between two runs and two machines in the names
of classes that torch made unique in this process, the paths of source files, the inputs that a
trace was made with, and an id made of all that.  Text is deflated, tensors are stored at offsets
of 64 bytes, as torch does it.
"""

import hashlib
import io
import re
import zipfile

DROPPED = re.compile(r"\.debug_pkl$|/traced_inputs|/\.data/serialization_id$")
UNIQUE = re.compile(rb"[./]___torch_mangle_\d+")
"""What torch puts into the name of a class that this process has had before."""

RENAMED = re.compile(r"\.py$|\.pkl$")
DEFLATED = re.compile(r"\.py$|\.json$")
ALIGNMENT = 64
WHEN = (1980, 1, 1, 0, 0, 0)
HEADER = 30
"""Bytes of the header in front of a file in a zip, without its name."""


def repack(archive: bytes) -> bytes:
    """``archive`` as it would be had its process done nothing else."""
    made = io.BytesIO()
    digest = hashlib.sha256()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            if DROPPED.search(entry.filename):
                continue
            held, name = old.read(entry), entry.filename
            if RENAMED.search(name):
                held, name = UNIQUE.sub(b"", held), UNIQUE.sub(b"", name.encode()).decode()
            digest.update(name.encode() + b"\0" + held)
            _add(new, made, name, held)
        root = old.namelist()[0].partition("/")[0]
        known = f"{int(digest.hexdigest()[:32], 16):040d}"
        _add(new, made, f"{root}/.data/serialization_id", known.encode())
    return made.getvalue()


def _add(archive: zipfile.ZipFile, file: io.BytesIO, name: str, held: bytes) -> None:
    entry = zipfile.ZipInfo(name, WHEN)
    entry.create_system = 0
    if DEFLATED.search(name):
        entry.compress_type = zipfile.ZIP_DEFLATED
    else:
        room = -(file.tell() + HEADER + len(name.encode()) + 4) % ALIGNMENT
        entry.extra = b"FB" + room.to_bytes(2, "little") + b"Z" * room
    archive.writestr(entry, held)
