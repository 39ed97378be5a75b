"""The help of commands with many flags has headings, and loses no flag."""

import pytest
import typer

from oq import cli
from oq.commands.layout import GROUPS
from tests.command import commands


def test_help_is_grouped_and_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    oq = commands(monkeypatch, capsys)
    group = typer.main.get_command(cli.app)
    for name in ("quantize", "verify", "targets"):
        text = oq(name, "-h").out
        options = group.commands[name].params  # type: ignore[attr-defined]
        flags = [o for p in options if p.param_type_name == "option" for o in p.opts]
        assert all(flag in text for flag in flags)
        headings = [h for h in GROUPS if f"\n{h}:\n" in text]
        assert headings == ([] if name == "targets" else [h for h in GROUPS if h in headings])
        assert (len(headings) >= 3) == (name != "targets")


def test_groups_name_each_flag_once() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert len(named) == len(set(named))


@pytest.mark.parametrize(
    ("flag", "start", "found"),
    [
        ("--target", "t", ["trt"]),
        ("--calibrator", "m", ["max", "minmax", "moving_average", "mse"]),
        ("--mode", "", ["naive", "hybrid", "selective"]),
        ("--preprocess", "imagenet-", ["imagenet-tf"]),
        ("--metric", "mi", ["miou"]),
    ],
)
def test_a_shell_completes_values(flag: str, start: str, found: list[str]) -> None:
    group = typer.main.get_command(cli.app)
    command = group.commands["quantize"]  # type: ignore[attr-defined]
    (option,) = (p for p in command.params if flag in p.opts)
    with group.make_context("oq", ["quantize"], resilient_parsing=True) as context:
        assert [c.value for c in option.shell_complete(context, start)] == found
