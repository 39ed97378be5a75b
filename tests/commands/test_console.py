"""Colour on a terminal, and nowhere else."""

import sys

import pytest

from oq.commands.console import say

LINES = ["FAIL top-1 fell 2.00 points", "  error [x] n: bad", "next        trtexec", "an error"]


@pytest.mark.parametrize(
    ("terminal", "plain", "painted"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_what_matters_stands_out_on_a_terminal(
    terminal: bool,
    plain: bool,
    painted: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    say(None, LINES, False)
    found = capsys.readouterr().out.splitlines()
    assert [("\x1b" in line) for line in found] == [painted, painted, painted, False]
    assert found[0].replace("\x1b[31;1m", "").replace("\x1b[0m", "") == LINES[0]
