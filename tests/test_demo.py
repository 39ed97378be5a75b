"""``oq demo``: every bundled model on every target, one line each, in 80 columns."""

import json
from pathlib import Path

import pytest

from oq.demo import copy_files, demo_lines
from oq.errors import OptionError
from oq.planning import registry
from oq.wording import to_json
from tests.shown import BUNDLED, GROUP, Demo

pytestmark = [pytest.mark.slow, GROUP]


def test_the_whole_demo(demo: Demo) -> None:
    rows = demo.rows
    models = ("residual", "separable", "transformer")
    wanted = [(m, t) for m in models for t in registry.names("targets")]
    assert [(r.model, r.target) for r in rows] == wanted
    assert list(demo.told) == [f"{m} for {t}" for m, t in wanted]
    for row in rows:
        assert Path(row.output).stat().st_size == pytest.approx(row.bytes_after, rel=0.05)
        assert row.bytes_after < row.bytes_before
        (votes,) = row.verification.literal.classes
        assert votes.samples == 360
        assert votes.top1 is not None and votes.top1_float is not None
        assert votes.top1 > votes.top1_float - 1
        timed = row.verification.latency
        assert (timed is not None) == (row.target in ("openvino", "ort"))
        assert timed is None or timed.ratio > 0
    lines = list(demo_lines(rows))
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[:3] == ["residual", wanted[0][1], "99.17"]
    tables = {t: [r.split() for r in lines if r.split()[1:2] == [t]] for t in ("ort", "trt", "dpu")}
    assert [len(tables[t][0]) for t in ("ort", "trt", "dpu")] == [9, 7, 8]
    json.dumps(to_json(rows), allow_nan=False)


def test_the_files_of_the_documentation(tmp_path: Path) -> None:
    found = copy_files(tmp_path / "new")
    assert [p.name for p in found] == ["model.onnx", "calib.npz", "eval.npz"]
    assert found[0].read_bytes() == (BUNDLED / "residual.onnx").read_bytes()
    with pytest.raises(OptionError, match=r"model\.onnx' exists; give another folder with -o"):
        copy_files(tmp_path / "new")
