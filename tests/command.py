"""``oq ARGS`` in this process: its exit code, and what it printed."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from oq import cli


@dataclass(frozen=True, slots=True)
class Run:
    code: int
    out: str
    err: str


Oq = Callable[..., Run]


def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Oq:
    """A function that runs ``oq`` with its arguments."""

    def call(*args: str | Path) -> Run:
        monkeypatch.setattr(sys, "argv", ["oq", *map(str, args)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err)

    return call
