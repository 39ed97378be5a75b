"""What a killed run leaves beside its output goes with the next run, and nothing else does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oq.model.files import replacing_files, write_text
from oq.model.scratch import HOST, scratch_prefix

KILLED = """
import os, signal, sys
from pathlib import Path
from oq.model.files import replacing, replacing_files
for path in sys.argv[1:2]:
    with replacing(Path(path)) as beside, replacing_files(Path(path)) as folder:
        beside.write_text("half"), folder.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def hidden(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if p.name.startswith(".")}


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "q.onnx"
    path.write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == -9
    assert len(hidden(tmp_path)) == 2 and path.read_text() == "old"
    write_text(path, "new")
    with replacing_files(path) as beside:
        beside.write_text("newer")
    assert not hidden(tmp_path) and path.read_text() == "newer"


def test_what_others_write_stays(tmp_path: Path) -> None:
    """Of a process that runs, of another machine, of another file, and the user's own."""
    alive = f".q.onnx-{HOST}-{os.getppid()}-a.tmp"
    others = {alive, ".q.onnx-another1-1-b.tmp", f".p.onnx-{HOST}-999999999-c.tmp", ".q.onnx-mine"}
    for name in others:
        (tmp_path / name).write_text("kept")
    write_text(tmp_path / "q.onnx", "new")
    assert hidden(tmp_path) == others


def test_long_names_in_any_script(tmp_path: Path) -> None:
    path = tmp_path / (80 * "模" + ".txt")
    write_text(path, "new")
    assert path.read_text() == "new" and not hidden(tmp_path)


def test_what_may_not_be_removed_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another user left in a folder that all write to."""
    left = tmp_path / f".q.onnx-{HOST}-999999999-a.tmp"
    left.write_text("half")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert scratch_prefix(tmp_path, "q.onnx").endswith(f"-{os.getpid()}-")
    assert left.exists()
