"""The page and its single pictures from the command line."""

import json
from pathlib import Path

import pytest

from tests.command import Oq
from tests.test_cli import CALIB, EVAL, MODEL
from tests.test_cli import run as run

REPORT = "report.html"


@pytest.fixture
def quantized(run: Oq) -> Oq:
    given = ("quantize", MODEL, "-t", "trt", "-d", CALIB, "--samples", "64", "-o", "q.onnx")
    done = run(*given, "--report", REPORT)
    assert done.code == 0, done.err
    return run


def test_quantize_and_verify_write_pages(quantized: Oq) -> None:
    page = Path(REPORT).read_text(encoding="utf-8")
    assert "q.onnx" in page and "trtexec --onnx=q.onnx" in page, "the run's last words are on it"
    assert "report" not in Path("q.onnx.yaml").read_text(), "a repeat writes over no page"
    done = quantized(
        "verify", MODEL, "q.onnx", "-d", EVAL, "--samples", "40", "--report", "v.html", "--json"
    )  # fmt: skip
    assert done.code == 0
    assert json.loads(done.out)["layers"], "a report implies --per-layer"
    page = Path("v.html").read_text(encoding="utf-8")
    assert "Verification report" in page and "judged for trt" in page
    assert "top-1 accuracy" in page and "Share of the output error" in page
    assert "trt has its own runtime" in page


def test_a_run_is_repeated_from_its_config(quantized: Oq) -> None:
    first = Path(REPORT).read_text(encoding="utf-8")
    Path(REPORT).unlink()
    done = quantized("quantize", MODEL, "--config", "q.onnx.yaml", "-o", "q.onnx", "--no-verify",
                     "--report", REPORT)  # fmt: skip
    assert done.code == 0, done.err
    again = Path(REPORT).read_text(encoding="utf-8")
    assert (
        "Histogram of" in again
        and "<span>output SQNR</span>" in first
        and "<span>output SQNR</span>" not in again
    )


@pytest.mark.parametrize("name", ["errors", "tensor", "weight"])
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_single_pictures(quantized: Oq, name: str, kind: str) -> None:
    pytest.importorskip("matplotlib")
    page = json.loads(Path(REPORT).read_text().split('id="story">')[1].split("</script>")[0])
    tensors = {
        "tensor": page["evidence"]["activations"][0]["tensor"],
        "weight": page["evidence"]["weights"][0]["tensor"],
    }
    chosen = tensors.get(name, name)
    for output in ("a", "b"):
        done = quantized("plot", REPORT, chosen, "-o", f"{output}.{kind}")
        assert done.code == 0, done.err
    first, second = (Path(f"{o}.{kind}").read_bytes() for o in "ab")
    assert len(first) > 5000
    if kind == "png":
        assert first == second, "same input, same bytes"


def test_mistakes_are_one_line(quantized: Oq) -> None:
    Path("other.html").write_text("<html></html>")
    cases = [
        (("plot", "none.html"), "'none.html': No such file"),
        (("plot", "other.html"), "'other.html' is not a report: expected a file that --report"),
        (("plot", REPORT, "-o", "x.gif"), "cannot write 'x.gif': expected .png or .svg or .pdf"),
        (("plot", REPORT, "sensitivity"), "'report.html' has no picture 'sensitivity'"),
        (
            ("quantize", MODEL, "-t", "ort", "-d", CALIB, "--report", "x.pdf"),
            "--report 'x.pdf': expected .html or .json",
        ),
    ]
    have = [c for c in cases if c[0][0] != "plot"]
    try:
        import matplotlib  # noqa: F401

        have = cases
    except ImportError:
        missing = quantized("plot", REPORT)
        assert missing.code == 2 and "oq plot needs matplotlib" in missing.err
    for arguments, message in have:
        done = quantized(*arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert message in done.err and len(done.err.splitlines()) == 1
