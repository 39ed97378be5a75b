"""Progress: what a caller is told, what is logged, and what a terminal shows."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest

import oq
from oq import demo, progress
from oq.progress import LOG, Clock, Counter, set_loudness
from tests.command import commands
from tests.damaged import X, damaged

ROOT = Path(oq.__file__).parents[1]


def test_a_caller_is_told_of_every_stage_and_layer() -> None:
    told: list[tuple[str, int, int | None]] = []
    oq.quantize(damaged(), "ort", {"x": X}, refine="bias,round",
                watch=lambda *event: told.append(event))  # fmt: skip
    stages = list(dict.fromkeys(stage for stage, *_ in told))
    wanted = ["load", "prepare", "calibrate", "refine", "refine bias", "refine round", "defaults",
              "emit", "verify"]  # fmt: skip
    assert stages == wanted
    layers = [event[1:] for event in told if event[0] == "refine round"]
    assert layers == [(0, None), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_stages_and_steps_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "oq"):
        oq.quantize(damaged(), "ort", {"x": X}, refine="smooth,bias")
    said = [r.getMessage() for r in caplog.records if r.name == "oq"]
    assert any(re.fullmatch(r"calibrate \d+\.\d\d s", line) for line in said)
    assert any(re.match(r"refine bias: kept, output SQNR \d", line) for line in said)
    assert any(line.startswith("refine smooth: not tried, ") for line in said)


def test_short_stages_are_details(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "oq"), Clock().stage("load"):
        pass
    assert [r.levelno for r in caplog.records if r.name == "oq"] == [logging.DEBUG] * 2


def test_a_long_stage_says_how_far_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 0.0, 5.0, 25.0, 30.0, 50.0])
    monkeypatch.setattr(progress, "_now", lambda: next(now))
    counter = Counter("calibrate", 100, None)
    with caplog.at_level(logging.INFO, "oq"):
        for done in (10, 50, 60, 80):
            counter(done)
    said = [r.getMessage() for r in caplog.records]
    assert said == ["calibrate 50 of 100, 25 s left", "calibrate 80 of 100, 12 s left"]


def test_before_the_first_sample_no_time_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_now", iter([0.0, 0.0, 25.0]).__next__)
    with caplog.at_level(logging.INFO, "oq"):
        Counter("calibrate", 100, None)(0)
    assert [r.getMessage() for r in caplog.records] == ["calibrate 0 of 100"]


@pytest.mark.parametrize(
    ("quiet", "verbose", "level"),
    [(True, False, logging.ERROR), (False, False, logging.INFO), (False, True, logging.DEBUG)],
)
def test_loudness(quiet: bool, verbose: bool, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOG, "level", LOG.level)
    set_loudness(quiet=quiet, verbose=verbose)
    assert LOG.level == level


def read(terminal: int) -> str:
    """What comes next from ``terminal``; "" where its other end is closed."""
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # Linux says so where others say nothing
        return ""


def command(folder: Path, *more: str) -> list[str]:
    onnx.save(damaged(), folder / "m.onnx")
    return [sys.executable, "-m", "oq", "quantize", "m.onnx", "-t", "ort", "-o", "o.onnx",
            "-d", "random", "--refine", "bias", *more]  # fmt: skip


def test_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    err = {
        flag: subprocess.run(command(tmp_path, flag), cwd=tmp_path, env=env, check=True,
                             capture_output=True, text=True).stderr
        for flag in ("-q", "-v")
    }  # fmt: skip
    assert err["-q"] == ""
    lines = err["-v"].splitlines()
    assert all(line.startswith("oq: ") for line in lines)
    assert "oq: load ..." in lines and any(re.match(r"oq: verify \d", line) for line in lines)


@pytest.mark.parametrize(("flags", "lines"), [((), 2), (("-q",), 0)])
def test_the_demo_says_one_line_per_model(
    flags: tuple[str, ...],
    lines: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run_demo(folder: Path, watch: Callable[[str], None]) -> Iterator[demo.DemoRow]:
        for what in ("a for ort", "b for ort"):
            watch(what)
            LOG.info("refine bias: kept")
        yield from ()

    monkeypatch.setattr(demo, "run_demo", run_demo)
    monkeypatch.setattr(LOG, "level", LOG.level)
    found = commands(monkeypatch, capsys)("demo", "-o", tmp_path, *flags)
    assert found.code == 0 and len(found.err.splitlines()) == lines


@pytest.mark.parametrize(("verbose", "heard"), [(False, []), (True, ["a stage", "a step"])])
def test_lines_of_stages_can_be_left_to_who_asks(
    verbose: bool, heard: list[str], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(LOG, "level", LOG.level)
    set_loudness(quiet=False, verbose=verbose)
    before = LOG.level
    with progress.warnings_alone():
        LOG.info("a stage")
        LOG.debug("a step")
    assert caplog.messages == heard and LOG.level == before


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
def test_a_terminal_shows_the_step_and_its_layers(tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command(tmp_path), cwd=tmp_path, env=env, stderr=theirs,
                          stdout=subprocess.DEVNULL):  # fmt: skip
        os.close(theirs)
        text = "".join(iter(lambda: read(ours), ""))
    os.close(ours)
    assert "refine bias" in text and "/4" in text and " s left" in text
    assert "oq: calibrate" not in text
