"""The words, the table and the picture of a ranking."""

import csv
import json
import math
import shlex
from pathlib import Path

import pytest

from oq.errors import MissingExtra
from oq.page.plot import draw_ranking, save_figure
from oq.ranking.rank import Kept, Ranking, Sensitivity
from oq.ranking.table import command, ranking_lines, write_table

ROWS = (
    Sensitivity(1, "conv[1]", ("Conv", "Relu"), 90.0, 9.5, 10.0, 30.0, 12.0, 25.0, 60.0),
    Sensitivity(2, "add", ("Add",), 10.0, 19.0, None, 19.0, 40.0, 9.0, 100.0),
    Sensitivity(3, "head", ("Gemm",), 0.0, math.inf, math.inf, math.inf, math.inf, 8.9, 100.0),
)
FOUND = Ranking("my net.onnx", "trt", "calib", 64, 9.0, 55.0, ROWS, (Kept("conv[1]", 19.0, 99.0),))


def test_the_worst_layer_comes_first_and_the_list_says_what_it_brings() -> None:
    lines = list(ranking_lines(FOUND, ["--preprocess", "imagenet"]))
    text = "\n".join(lines)
    assert "all layers quantized: SQNR 9.0 dB at the outputs, top-1 agrees on 55.0 %" in text
    rows = [line.split() for line in lines if line.startswith("  ")]
    assert rows[1] == ["conv[1]", "90.0", "9.5", "10.0", "30.0", "12.0", "25.0"]
    assert rows[2] == ["add", "10.0", "19.0", "19.0", "40.0", "9.0"], "an Add has no weights"
    assert rows[3][2] == "equal"
    assert "1 of 3 layers kept in float raise the SQNR from 9.0 to 19.0 dB" in text
    assert all(len(line) <= 80 for line in lines[:-1]), "but for the command to copy"


def test_the_command_survives_a_shell_and_matches_the_node_alone() -> None:
    words = shlex.split(command(FOUND, ["--preprocess", "imagenet"]))
    assert words[:3] == ["oq", "quantize", "my net.onnx"]
    assert words[-2:] == ["--keep-float", "conv[[]1]"], "brackets mean a set in a glob"
    assert words[words.index("--preprocess") + 1] == "imagenet"
    assert "--preprocess" not in command(FOUND)


def test_nothing_to_keep() -> None:
    none = Ranking("m", "trt", "d", 1, math.inf, None, ROWS[2:], ())
    assert list(ranking_lines(none))[-1] == "keeping layers in float would not help"


def test_the_table_as_csv_and_as_json(tmp_path: Path) -> None:
    write_table(FOUND, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["node"] for r in rows] == ["conv[1]", "add", "head"]
    assert (rows[0]["ops"], rows[0]["keep_float"], rows[1]["keep_float"]) == ("Conv+Relu", "1", "0")
    assert (rows[1]["weights_db"], rows[2]["sqnr_db"]) == ("", "inf")
    write_table(FOUND, tmp_path / "t.json")
    held = json.loads((tmp_path / "t.json").read_text())
    assert held["layers"][0]["node"] == held["kept"][0]["node"] == "conv[1]"
    assert held["layers"][2]["sqnr_db"] is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.json"]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_picture(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a", "b"):
        save_figure(draw_ranking(FOUND), tmp_path / f"{name}.{kind}")
    first, second = ((tmp_path / f"{n}.{kind}").read_bytes() for n in "ab")
    assert len(first) > 1000
    if kind != "svg":
        assert first == second, "same input, same bytes"


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"--plot needs matplotlib.*pip install matplotlib"):
        draw_ranking(FOUND)
    assert not list(tmp_path.iterdir())
