"""``oq sensitivity``, ``--per-layer``, ``--metric`` and a collapse, on the command line."""

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.command import Oq, commands
from tests.damaged import X, damaged
from tests.graphs import Net


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Oq:
    """``oq ARGS`` in a folder with a damaged model, its file for trt, and data."""
    monkeypatch.chdir(tmp_path)
    onnx.save(damaged(), "net.onnx")
    np.savez("data.npz", x=X)
    return commands(monkeypatch, capsys)


RANK = ("sensitivity", "net.onnx", "-t", "trt", "-d", "data.npz", "-j", "1")


def test_sensitivity_names_the_layer_and_its_command_works(run: Oq) -> None:
    found = run(*RANK, "-o", "table.csv")
    assert (found.code, found.err) == (0, "")
    with open("table.csv", newline="") as file:
        assert next(csv.DictReader(file))["node"] == "n_b"
    command = found.out.splitlines()[-1].split()
    assert command[:2] == ["oq", "quantize"] and command[-2:] == ["--keep-float", "n_b"]
    done = run(*command[1:], "-o", "out.onnx")
    assert done.code == 0 and "3 of 4 weighted layers" in done.out


def test_sensitivity_json_is_one_document(run: Oq) -> None:
    found = json.loads(run(*RANK, "--json").out)
    assert found["layers"][0]["node"] == found["kept"][0]["node"] == "n_b"
    assert (found["target"], found["samples"]) == ("trt", 24)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("-o", "table.txt"), "cannot write 'table.txt': expected .csv or .json"),
        (("-o", "none/table.csv"), "folder 'none' does not exist"),
        (("--plot", "x.gif"), "cannot write 'x.gif': expected .png or .svg or .pdf"),
    ],
)
def test_sensitivity_refuses_before_it_works(run: Oq, flags: tuple[str, ...], message: str) -> None:
    found = run(*RANK, *flags)
    assert found.code == 2 and message in found.err


def test_per_layer_lists_the_worst_first(run: Oq) -> None:
    run("quantize", "net.onnx", "-t", "ort", "-d", "data.npz", "-o", "q.onnx", "--refine", "none")
    verify = ("verify", "net.onnx", "q.onnx", "-d", "data.npz", "--no-latency")
    found = run(*verify, "--per-layer")
    assert "error by tensor" in found.out
    held = json.loads(run(*verify, "--per-layer", "--json").out)["layers"]
    assert held[0]["node"] in ("n_b", "n_rb") and held[0]["share"] > 80
    assert {r["tensor"] for r in held} >= {"x", "a", "ra", "b", "rb", "c", "rc", "y"}
    assert json.loads(run(*verify, "--json").out)["layers"] == []


def test_a_collapse_is_loud_in_quantize_and_in_verify(run: Oq) -> None:
    onnx.save(damaged(5000.0, bias=0.0), "net.onnx")
    args = ("-t", "trt", "-d", "data.npz", "-o", "q.onnx", "--refine", "none")
    done = run("quantize", "net.onnx", *args)
    assert done.code == 1 and Path("q.onnx").is_file(), "the file is still written"
    assert done.err.startswith("oq: the quantized model has collapsed: output 'y'")
    assert "COLLAPSED" in done.out and "n_b (" in done.out
    assert "next: oq sensitivity net.onnx --target trt --data data.npz" in done.out
    found = run("verify", "net.onnx", "q.onnx", "-d", "data.npz", "--no-latency")
    assert found.code == 1 and "collapsed" in found.err
    assert found.out.startswith("COLLAPSED") and "most of it comes from n_" in found.out
    assert "next: oq sensitivity net.onnx --target trt --data data.npz" in found.out
    told = run("verify", "net.onnx", "q.onnx", "-d", "data.npz", "--no-latency", "--json")
    held = json.loads(told.out)
    assert told.code == 1 and held["layers"][0]["share"] > 50


def test_metrics_are_reported_and_held_to_max_drop(run: Oq) -> None:
    Path("mine.py").write_text(
        "def score(exact, found, labels):\n    return 10.0, 8.5\n"
        "def alone(exact, found, labels):\n    return 3.0\n"
    )
    verify = ("verify", "net.onnx", "net.onnx", "-d", "data.npz", "--no-latency")
    found = run(*verify, "--metric", "mine:score", "--metric", "sqnr", "--max-drop", "2")
    assert found.code == 0 and "literal: mine:score 10 -> 8.5" in found.out
    missed = run(*verify, "--metric", "mine:score", "--max-drop", "1")
    assert missed.code == 1
    assert missed.err == "oq: FAIL mine:score fell 1.5 (limit 1)\n"
    alone = run(*verify, "--metric", "mine:alone", "--max-drop", "1")
    assert alone.code == 0 and "PASS mine:alone is unchanged (limit 1)" in alone.out
    held = json.loads(run(*verify, "--metric", "mine:score", "--json").out)["scores"]
    assert held[0] == {
        "metric": "mine:score", "reading": "deployed", "value": 8.5, "exact": 10.0
    }  # fmt: skip
    assert run(*verify, "--metric", "nothing").code == 2


def test_mean_iou_with_labels_per_pixel(run: Oq) -> None:
    net = Net()
    onnx.save(net.model(net.conv(net.input("x"), "y")), "seg.onnx")
    labels = np.random.default_rng(0).integers(0, 4, (24, 8, 8))
    np.savez("seg.npz", x=X, labels=labels)
    found = run("verify", "seg.onnx", "seg.onnx", "-d", "seg.npz", "--no-latency", "--metric",
                "miou", "--max-drop", "0.1", "--json")  # fmt: skip
    score = json.loads(found.out)["scores"][0]
    assert found.code == 0 and score["exact"] == score["value"] and 0 < score["value"] < 50
