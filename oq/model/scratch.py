"""Names of scratch files beside what is written: a run that is killed leaves them, and the next one
that writes there removes them."""

import glob
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HOST = re.sub(r"[^A-Za-z0-9]", "", platform.node())[:16] or "host"
"""In the names, since a process is known by its number on one machine only."""


def scratch_prefix(folder: Path, name: str) -> str:
    """How scratch files for ``name`` in ``folder`` begin: ``.NAME-HOST-PROCESS-``.  Those of
    processes of this machine that are no more are removed."""
    mine = f".{name[:50]}-{HOST}-"
    for left in folder.glob(f"{glob.escape(mine)}*"):
        process = left.name.removeprefix(mine).partition("-")[0]
        if not process.isdigit() or left.is_symlink() or _runs(int(process)):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(OSError):  # of another user, in a folder that all write to
                left.unlink()
    return f"{mine}{os.getpid()}-"


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A scratch folder in ``folder``, which is removed in the end."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=scratch_prefix(folder, "oq")) as name:
        yield Path(name)


def _runs(process: int) -> bool:
    """Whether a process of that number runs; True where that cannot be known."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)  # signal 0 asks and does nothing
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
