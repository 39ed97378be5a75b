"""The command line: exit codes, one line for every bad input, one document for ``--json``."""

import csv
import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from tests.command import Oq, commands
from tests.graphs import Net

ROOT = Path(oq.__file__).parents[1]
BUNDLED = ROOT / "models" / "bundled"
MODEL, CALIB, EVAL = (
    str(BUNDLED / name) for name in ("residual.onnx", "digits_calib.npz", "digits_eval.npz")
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Oq:
    """``oq ARGS`` in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return commands(monkeypatch, capsys)


def shell(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A real process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, env=environment, **options
    )


def samples() -> Any:
    with np.load(CALIB) as archive:
        return archive["input"]


# ---- the commands


def test_quantize_check_and_verify(run: Oq, tmp_path: Path) -> None:
    done = run("quantize", MODEL, "-t", "ort", "-d", CALIB, "-o", "out.onnx", "--samples", "64")
    assert (done.code, done.err) == (0, "")
    assert "quantized   9 of 9 weighted layers" in done.out
    assert 'onnxruntime.InferenceSession("out.onnx")' in done.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.onnx", "out.onnx.yaml"]
    assert run("check", "out.onnx", "-t", "ort").code == 0
    judged = run("check", "out.onnx", "-t", "trt")
    assert judged.code == 1 and "error [no-uint8]" in judged.out
    found = run("verify", MODEL, "out.onnx", "-d", EVAL, "--no-latency", "--max-drop", "1")
    assert found.code == 0 and found.out.splitlines()[-1].startswith("PASS top-1 ")
    assert re.search(r"logits +literal +[\d.]+ +99.17 ", found.out)


def test_a_run_is_repeated_from_the_config_it_leaves(run: Oq, tmp_path: Path) -> None:
    flags = ["--samples", "32", "--calibrator", "percentile", "--set", "percentile=99.5",
             "--layer", "Conv:per_channel=false", "--no-verify"]  # fmt: skip
    assert run("quantize", MODEL, "-t", "ort", "-d", CALIB, "-o", "a.onnx", *flags).code == 0
    again = run("quantize", MODEL, "--config", "a.onnx.yaml", "-o", "b.onnx")
    assert again.code == 0
    first, second = (tmp_path / f"{x}.onnx" for x in "ab")
    assert first.read_bytes() == second.read_bytes()
    words = [(tmp_path / f"{x}.onnx.yaml").read_text().splitlines()[1:] for x in "ab"]
    assert words[0] == words[1] and "calibrator: percentile" in words[0]


def test_a_run_is_repeated_from_another_folder(
    run: Oq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "else").mkdir()
    np.savez("c.npz", input=samples()[:16])
    flags = ["--samples", "12", "--no-verify", "--refine", "none"]
    assert run("quantize", MODEL, "-t", "ort", "-d", "c.npz", "-o", "out/a.onnx", *flags).code == 0
    assert "data: ../c.npz" in (tmp_path / "out/a.onnx.yaml").read_text()
    monkeypatch.chdir(tmp_path / "else")
    again = run("quantize", MODEL, "--config", "../out/a.onnx.yaml", "-o", "b.onnx")
    assert again.code == 0, again.err
    assert (tmp_path / "out/a.onnx").read_bytes() == Path("b.onnx").read_bytes()


def test_arrays_of_other_names_are_mapped(run: Oq, tmp_path: Path) -> None:
    with np.load(EVAL) as given:
        np.savez("xy.npz", x=given["input"][:48], y=given["labels"][:48])
    flags = ["-d", "xy.npz", "--rename", "input=x", "--rename", "labels=y"]
    short = ["-o", "o.onnx", "--refine", "none"]
    done = run("quantize", MODEL, "-t", "ort", *flags, *short)
    assert done.code == 0 and "100.00" in done.out
    assert "rename:\n  input: x\n  labels: y\n" in Path("o.onnx.yaml").read_text()
    found = run("verify", MODEL, "o.onnx", *flags, "--max-drop", "50", "--no-latency")
    assert found.code == 0 and "PASS top-1" in found.out
    lone = run("verify", MODEL, "o.onnx", "-d", "xy.npz", "--rename", "labels=y", "--no-latency")
    assert "the only array of the data, 'x', is taken for the only input, 'input'" in lone.out
    wrong = run("quantize", MODEL, "-t", "ort", "-d", "xy.npz", *short)
    assert wrong.code == 2 and "which is which: --rename input=x --rename labels=y" in wrong.err
    made = run("calibrate", MODEL, *flags, "--cache", "c", "--samples", "8")
    assert made.code == 0


def test_the_files_that_were_written_are_named(run: Oq) -> None:
    done = run("quantize", MODEL, "-t", "ort", "-d", CALIB, "-o", "o.onnx", "--samples", "16",
               "--refine", "none", "--no-verify", "--report", "r.html")  # fmt: skip
    assert "\nwrote       o.onnx, o.onnx.yaml, r.html\n" in done.out


def test_a_cache_of_another_target_says_so(run: Oq) -> None:
    made = run("calibrate", MODEL, "-t", "ort", "-d", CALIB, "--samples", "8", "--cache", "c")
    assert made.code == 0
    found = run("quantize", MODEL, "-t", "dpu", "--cache", "c", "-o", "o.onnx")
    assert found.code == 2 and "made for target ort; this run is for dpu" in found.err


def test_the_command_line_wins_over_the_config(run: Oq, tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text(f"target: trt\nsamples: 40\nverify: false\ndata: {CALIB}\n")
    done = run("quantize", MODEL, "--config", "q.yaml", "-t", "ort", "--json", "-o", "o.onnx")
    found = json.loads(done.out)
    assert (found["target"], found["samples"], found["verification"]) == ("ort", 40, None)
    assert found["options"]["target"] == "ort"
    plain = run("quantize", MODEL, "--config", "q.yaml", "--samples", "24", "-o", "p.onnx")
    assert "minmax on 24 samples" in plain.out and "trt: NVIDIA" in plain.out


def test_a_config_is_written_and_checked(run: Oq, tmp_path: Path) -> None:
    assert run("config", "--init").code == 0
    assert (tmp_path / "quant.yaml").read_text().startswith("# oq quantize MODEL.onnx --config")
    assert run("config", "--init").code == 2
    assert run("config", "quant.yaml").code == 0
    (tmp_path / "bad.yaml").write_text("mode: fast")
    found = run("config", "bad.yaml")
    assert (found.code, found.err.count("\n")) == (2, 1) and "expected naive or" in found.err
    assert "--target is missing; available: coreml" in run("quantize", MODEL, "-d", CALIB).err


def test_the_output_lies_beside_the_model_by_default(run: Oq, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(Path(MODEL).read_bytes())
    assert run("quantize", "net.onnx", "-t", "trt", "-d", CALIB, "--no-verify").code == 0
    assert (tmp_path / "net.trt.onnx").is_file()


def test_quantize_json_is_one_document(run: Oq) -> None:
    done = run("quantize", MODEL, "-t", "trt", "-d", CALIB, "-o", "o.onnx", "--json",
               "--samples", "64")  # fmt: skip
    found = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert (found["target"], found["output"], found["samples"]) == ("trt", "o.onnx", 56)
    assert found["verification"]["samples"] == 8


def test_verify_says_when_a_limit_was_missed(run: Oq) -> None:
    broken = onnx.load(MODEL)
    for tensor in broken.graph.initializer:
        if tensor.name == "head.weight":
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(-values, tensor.name))
    onnx.save(broken, "broken.onnx")
    found = run("verify", MODEL, "broken.onnx", "-d", EVAL, "--no-latency", "--max-drop", "1")
    assert found.code == 1
    last = found.out.splitlines()[-1]
    assert re.fullmatch(r"FAIL collapsed: .*; top-1 fell \d\d\.\d\d points \(limit 1\.00\)", last)
    assert found.err == f"oq: {last}\n" and "top-1 of" in found.out
    told = run("verify", MODEL, "broken.onnx", "-d", EVAL, "--no-latency", "--max-drop", "1",
               "--json")  # fmt: skip
    assert told.code == 1
    document = json.loads(told.out)
    assert document["literal"]["classes"][0]["top1"] < 50
    assert list(document)[:2] == ["schema", "summary"]
    assert not document["summary"]["passed"] and document["summary"]["drop"] > 50
    for form, word in (
        ("github", "::error file=broken.onnx,"),
        ("junit", '<failure message="FAIL'),
    ):
        told = run("verify", MODEL, "broken.onnx", "-d", EVAL, "--no-latency", "--format", form)
        assert told.code == 1 and word in told.out


def test_a_refusal_is_json_where_json_is_asked_for(run: Oq) -> None:
    for words in (("--json",), ("--format", "json"), ("--format=json",)):
        found = run("verify", MODEL, "none.onnx", "-d", EVAL, *words)
        said = json.loads(found.out)["error"]
        assert found.code == 2 and found.err == f"oq: {said['message']}\n"
        assert said["kind"] == "ModelError"
    assert run("verify", MODEL, "none.onnx", "-d", EVAL).out == ""


def test_check_reads_the_target_from_the_file(run: Oq) -> None:
    assert run("quantize", MODEL, "-t", "trt", "-d", CALIB, "-o", "o.onnx", "--refine", "none",
               "--no-verify").code == 0  # fmt: skip
    assert re.search(r"^target +trt$", run("check", "o.onnx").out, re.MULTILINE)
    bare = onnx.load("o.onnx")
    del bare.metadata_props[:]
    onnx.save(bare, "bare.onnx")
    found = run("check", "bare.onnx")
    assert found.code == 2 and "--target is one of: coreml, dpu, openvino, ort, trt" in found.err


def test_max_drop_without_labels(run: Oq) -> None:
    np.savez("bare.npz", input=samples()[:8])
    found = run("verify", MODEL, MODEL, "-d", "bare.npz", "--no-latency", "--max-drop", "1")
    assert found.code == 2 and "bare.npz has no labels, which --max-drop needs" in found.err


def test_images_with_labels(run: Oq, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    net = Net()
    net.node("Flatten", [net.node("GlobalAveragePool", [net.input("x", ("n", 3, 4, 4))], "p")], "y")
    onnx.save(net.model("y"), "net.onnx")
    (tmp_path / "photos").mkdir()
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label"])
        for i in range(6):
            colour = [0, 0, 0]
            colour[i % 3] = 200
            image.new("RGB", (4, 4), tuple(colour)).save(tmp_path / "photos" / f"{i}.png")
            rows.writerow([f"{i}.png", i % 3])
    found = run("verify", "net.onnx", "net.onnx", "-d", "photos", "--preprocess", "unit",
                "--labels", "labels.csv", "--no-latency", "--json")  # fmt: skip
    assert json.loads(found.out)["literal"]["classes"][0]["top1"] == 100.0


def test_plan_and_why(run: Oq) -> None:
    found = run("plan", MODEL, "-t", "ort")
    assert found.code == 0 and found.out.startswith("target ort: 9 of 9 weighted layers quantized")
    assert "\nsites: 14 x activation, " in found.out and "  bias " not in found.out
    assert "  bias " in run("plan", MODEL, "-t", "ort", "-v").out
    why = run("plan", MODEL, "-t", "ort", "--why", "input_wide")
    assert why.out.splitlines()[0] == "tensor input_wide is quantized: uint8 affine per tensor"
    told = json.loads(run("plan", MODEL, "-t", "ort", "--json").out)
    assert {s["spec"]["kind"] for s in told["sites"]} >= {"Own", "Product"}
    told = json.loads(run("plan", MODEL, "-t", "ort", "--why", "input", "--json").out)
    assert told["name"] == "input" and told["why"]


def test_lists(run: Oq) -> None:
    for command, name in (("targets", "trt"), ("calibrators", "minmax")):
        words, told = run(command), json.loads(run(command, "--json").out)
        assert name in told
        assert [line.split()[0] for line in words.out.splitlines() if line[0] != " "] == list(told)


def test_keep_float_is_repeatable(run: Oq) -> None:
    found = run("plan", MODEL, "-t", "trt", "--keep-float", "node_linear", "--keep-float",
                "node_Conv_12*", "--json")  # fmt: skip
    kept = {s["node"] for s in json.loads(found.out)["skips"] if "--keep-float" in s["reason"]}
    assert kept == {"node_linear", "node_Conv_124", "node_Conv_126", "node_Conv_128"}


def test_version_and_help(run: Oq) -> None:
    assert run("--version").out == f"oq {oq.__version__}\n"
    for command in ("quantize", "verify", "plan", "check", "export", "demo", "targets"):
        found = run(command, "--help")
        assert found.code == 0 and "--json" in found.out


# ---- bad input: one line, exit 2, nothing written


def write_bad_files(folder: Path) -> None:
    whole = Path(MODEL).read_bytes()
    (folder / "text.onnx").write_text("hello")
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    onnx.save_model(
        onnx.load(MODEL),
        str(folder / "external.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    (folder / "weights.bin").unlink()
    x = samples()[:32]
    broken = x.copy()
    broken[3, 0, 0, 0], broken[5, 0, 0, 1] = np.nan, np.inf
    np.savez(folder / "names.npz", image=x, other=x)
    np.savez(folder / "shape.npz", input=x[:, :, :4])
    np.savez(folder / "dtype.npz", input=(x * 16).astype(np.int32))
    np.savez(folder / "none.npz", input=x[:0])
    np.savez(folder / "nan.npz", input=broken)
    (folder / "folder").mkdir()
    (folder / "folder" / "a.png").write_bytes(b"")
    (folder / "nothing").mkdir()
    (folder / "net.onnx").write_bytes(whole)
    (folder / "link.onnx").symlink_to("net.onnx")
    os.mkfifo(folder / "pipe.yaml")
    (folder / "quantized.onnx").write_bytes(quantized_model())


@cache
def quantized_model() -> bytes:
    made = oq.quantize(MODEL, "ort", {"input": samples()[:32]}, verify=False).model
    return bytes(made.SerializeToString())


Case = tuple[list[str], str]

QUANTIZE: dict[str, Case] = {
    "not ONNX": (["text.onnx"], "'text.onnx' is not an ONNX model, or it is cut off"),
    "no name": ([MODEL, "-o", ""], "-o '.' names no file"),
    "empty": (["empty.onnx"], "'empty.onnx' holds no ONNX graph"),
    "truncated": (["cut.onnx"], "'cut.onnx' is not an ONNX model, or it is cut off"),
    "no external data": (["external.onnx"], "external data 'weights.bin' of 'external.onnx' is"),
    "no model": (["nothing.onnx"], "no model file at 'nothing.onnx'"),
    "a folder": (["folder"], "no model file at 'folder'"),
    "quantized already": (["quantized.onnx"], "the model is quantized already: node 'input_wide_Q"),
    "names": (["-d", "names.npz"], "where the model's inputs are 'input'; expected exactly"),
    "shapes": (["-d", "shape.npz"], "input 'input' has shape (1, 1, 4, 8); the model expects"),
    "dtypes": (["-d", "dtype.npz"], "input 'input' is int32; the model expects float32"),
    "no samples": (["-d", "none.npz"], "none.npz: has no samples"),
    "not finite": (["-d", "nan.npz"], "input 'input' has 2 values that are NaN or infinite, the"),
    "no data": (["-d", "nothing.npz"], "nothing.npz: no such file or folder; expected an .npz"),
    "empty folder": (["-d", "nothing"], "nothing: has none of these; expected a folder of images"),
    "target": (["-t", "tensorrt"], "'tensorrt'; available: coreml, dpu, openvino, ort, trt"),
    "calibrator": (["--calibrator", "most"], "no calibrator 'most'; available: "),
    "setting": (["--set", "keep=1"], "calibrator 'minmax' has no setting 'keep'"),
    "setting without value": (["--set", "keep"], "--set 'keep': expected KEY=VALUE"),
    "setting that is no YAML": (
        ["--set", "keep=["],
        "--set 'keep=[': '[' is not a number, word or",
    ),
    "pattern": (["--keep-float", "head*"], "--keep-float 'head*' matches no node; node names"),
    "output folder": (["-o", "nowhere/o.onnx"], "cannot write 'nowhere/o.onnx': folder 'nowhere'"),
    "output is a folder": (["-o", "folder"], "cannot write 'folder': it is a folder"),
    "output is the data": (["-d", "names.npz", "-o", "names.npz"], "is the data itself; give ano"),
    "output is a file of the data": (
        ["-d", "folder", "-o", "folder/a.png"],
        "is a file of the data",
    ),
    "ranges are the model": (
        ["net.onnx", "--save-ranges", "net.onnx"],
        "is the model itself; give",
    ),
    "cache is the data": (["-d", "names.npz", "--cache", "names.npz"], "is the data itself; give"),
    "page is the output": (["--report", "o.html", "-o", "o.html"], "are both 'o.html'; give two"),
    "output is a device": (
        ["-o", "/dev/null"],
        "cannot write '/dev/null': it is a device, pipe or",
    ),
    "output is a pipe": (["-o", "pipe.yaml"], "cannot write 'pipe.yaml': it is a device, pipe"),
    "config is a pipe": (["-o", "pipe"], "cannot write 'pipe.yaml': it is a device, pipe"),
    "output is a link": (
        ["-o", "link.onnx"],
        "cannot write 'link.onnx': it is a link; give a file",
    ),
    "cache is a link": (["--cache", "link.onnx"], "cannot write 'link.onnx': it is a link; give a"),
    "output of a long name": (["-o", f"{'a' * 300}.onnx"], "File name too long"),
    "provider": (["--provider", "abacus"], "provider 'abacus' is not in this onnxruntime; it has"),
    "preset": (["--preprocess", "nothing"], "'nothing' is neither a preset"),
}


@pytest.mark.parametrize("case", QUANTIZE)
def test_bad_input_to_quantize(run: Oq, tmp_path: Path, case: str) -> None:
    args, message = QUANTIZE[case]
    write_bad_files(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    model = [] if not args[0].startswith("-") else [MODEL]
    rest = [w for flag, value in (("-t", "ort"), ("-d", CALIB), ("-o", "o.onnx"))
            if flag not in args for w in (flag, value)]  # fmt: skip
    found = run("quantize", *model, *args, *rest)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("oq: ") and found.err.count("\n") == 1
    assert message in found.err
    after = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    assert after == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["check", "text.onnx", "-t", "ort"], "is not an ONNX model"),
        (["check", "quantized.onnx", "-t", "most"], "no target 'most'"),
        (["plan", "cut.onnx", "-t", "ort"], "is not an ONNX model"),
        (["plan", MODEL, "-t", "ort", "--why", "nothing"], "the plan mentions no such tensor"),
        (["verify", MODEL, "nothing.onnx", "-d", EVAL], "no model file at 'nothing.onnx'"),
        (["verify", MODEL, "quantized.onnx", "-d", "names.npz"], "the model's inputs are 'input'"),
        (["verify", MODEL, MODEL, "-d", EVAL, "--engine", "tvm"], "no engine 'tvm'; available: "),
        (["export", "no.such.module:make", "-o", "o.onnx"], "importing no.such.module"),
    ],
)
def test_bad_input_elsewhere(run: Oq, tmp_path: Path, args: list[str], message: str) -> None:
    if args[0] == "export":
        pytest.importorskip("torch")
    write_bad_files(tmp_path)
    found = run(*args)
    assert (found.code, found.out) == (2, "")
    assert found.err.count("\n") == 1 and message in found.err
    assert not (tmp_path / "o.onnx").exists()


def test_a_missing_model_is_what_is_said_not_its_folder(run: Oq) -> None:
    found = run("quantize", "nowhere/net.onnx", "-t", "ort", "-d", CALIB)
    assert (found.code, found.err) == (2, "oq: no model file at 'nowhere/net.onnx'\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["quantize", "net.onnx", "-o", "o.onnx"], "the file beside -o 'o.onnx.data' is the data"),
        (["quantize", "net.onnx", "-o", "o.onnx.data"], "'o.onnx.data' is the data file of the m"),
        (["calibrate", "net.onnx", "--cache", "o.onnx.data"], "the data file of the model itself;"),
        (["verify", "net.onnx", MODEL, "--report", "o.onnx.data"], "data file of the float model "),
    ],
)
def test_external_data_of_the_model_is_not_overwritten(
    run: Oq, tmp_path: Path, args: list[str], message: str
) -> None:
    model, data = onnx.load(MODEL), tmp_path / "o.onnx.data"
    onnx.save_model(model, tmp_path / "net.onnx", save_as_external_data=True, location=data.name)
    before = data.read_bytes()
    rest = ["-d", CALIB] if args[0] == "verify" else ["-d", CALIB, "-t", "ort"]
    found = run(*args, *rest)
    assert found.code == 2 and found.err.count("\n") == 1 and message in found.err
    assert data.read_bytes() == before


def test_the_model_is_not_overwritten(run: Oq, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(Path(MODEL).read_bytes())
    found = run("quantize", "net.onnx", "-t", "ort", "-d", CALIB, "-o", "./net.onnx")
    assert found.code == 2 and "is the model itself" in found.err
    assert (tmp_path / "net.onnx").read_bytes() == Path(MODEL).read_bytes()


def test_a_crash_has_a_status_of_its_own(run: Oq, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is not an answer: neither 1 (a limit was missed) nor 2 (the user can act)."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug at \x1b[31mred")

    monkeypatch.setattr("oq.pipeline.quantize", fail)
    found = run("quantize", MODEL, "-t", "ort", "-d", CALIB, "-o", "o.onnx")
    assert (found.code, found.out) == (70, "")
    assert "Traceback" in found.err and found.err.endswith(
        "RuntimeError: a bug at \\x1b[31mred\n\noq: this is a bug in oq: please report it with the "
        "lines above\n"
    )


def test_names_in_a_model_do_not_reach_the_terminal_as_commands(run: Oq) -> None:
    model = onnx.load(MODEL)
    for node in model.graph.node:
        node.name += "\x1b]0;title\x07"
    onnx.save(model, "net.onnx")
    for args in (("plan", "-t", "ort"), ("plan", "-t", "ort", "--why", "nothing")):
        found = run(args[0], "net.onnx", *args[1:])
        assert "\x1b" not in found.out + found.err
        assert "\\x1b]0;title\\x07" in found.out or found.code == 2


@pytest.mark.parametrize("full", ["model", "config", "ranges"])
def test_a_full_disk_leaves_what_was_there(
    run: Oq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """No half file, no new config beside an old model, one line."""
    args = ("quantize", MODEL, "-t", "ort", "-d", CALIB, "-o", "o.onnx", "--save-ranges", "r.json")
    rest = ("--refine", "none", "--samples", "8")
    for name in ("o.onnx", "o.onnx.yaml", "r.json"):
        (tmp_path / name).write_text("old")
    kind, marker = {
        "model": ("open", ".o.onnx-"),
        "config": ("write_text", ".o.onnx.yaml-"),
        "ranges": ("write_text", ".r.json-"),
    }[full]
    write = getattr(Path, kind)

    def refuse(path: Path, *given: object, **more: object) -> object:
        if path.name.startswith(marker):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *given, **more)

    monkeypatch.setattr(Path, kind, refuse)
    found = run(*args, *rest)
    assert found.code == 2 and found.err.count("\n") == 1
    assert "No space left on device" in found.err
    left = {p.name for p in tmp_path.iterdir()}
    assert not [n for n in left if n.startswith(".")]
    old = {n for n in ("o.onnx", "o.onnx.yaml", "r.json") if (tmp_path / n).read_bytes() == b"old"}
    assert old == ({"r.json"} if full == "ranges" else {"o.onnx", "o.onnx.yaml", "r.json"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_found_before_calibration(run: Oq, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    found = run("quantize", MODEL, "-t", "ort", "-d", CALIB, "-o", "locked/o.onnx")
    assert (found.code, found.out) == (2, "") and "cannot write 'locked/o.onnx'" in found.err


@pytest.mark.parametrize(
    "args",
    [["plan", MODEL], ["quantize", MODEL, "-t", "ort", "-d", CALIB, "--samples",
      "0"], ["nothing"], ["plan", MODEL, "-t", "ort", "--batch-size", "3"]],
)  # fmt: skip
def test_misspelt_commands_exit_with_2(run: Oq, args: list[str]) -> None:
    found = run(*args)
    assert (found.code, found.out) == (2, "") and "Error" in found.err


def test_dead_channels_and_constant_images_are_quantized(run: Oq) -> None:
    np.savez("zeros.npz", input=samples()[:16] * 0)
    done = run("quantize", MODEL, "-t", "trt", "-d", "zeros.npz", "-o", "o.onnx", "--no-verify")
    assert done.code == 0
    assert run("check", "o.onnx", "-t", "trt").code == 0


# ---- a process of its own


def test_help_is_fast_and_light() -> None:
    heavy = "numpy onnx onnxruntime onnx_graphsurgeon torch yaml rich PIL"
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(\n"
        f"    sorted({{m.split('.')[0] for m in sys.modules}} & set('{heavy}'.split())))))\n"
        "sys.argv = ['oq', '--help']\n"
        "from oq.cli import main\n"
        "main()\n"
    )
    times = []
    for _ in range(3):
        start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        found = shell("-c", code)
        times.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start)
        assert found.returncode == 0 and "quantize" in found.stdout
        assert found.stderr == ""
    assert min(times) < 0.5  # CPU seconds; 0.15 where nothing else runs


def test_import_oq_is_light_too() -> None:
    found = shell("-c", "import oq, sys; print({'numpy', 'onnx', 'typer'} & set(sys.modules))")
    assert found.stdout == "set()\n"


def test_python_m_oq_and_quiet_streams(tmp_path: Path) -> None:
    args = ["-t", "ort", "-d", CALIB, "-o", str(tmp_path / "o.onnx"), "--samples", "16"]
    found = shell("-m", "oq", "quantize", MODEL, *args, "--json", "-q")
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout)["target"] == "ort"
    found = shell("-m", "oq", "targets")
    assert found.returncode == 0 and "trt" in found.stdout


SLOW_DATA = """
import sys, time
import numpy as np

def feeds():
    for number in range(1000):
        print(f"fed {number}", file=sys.stderr, flush=True)
        time.sleep(0.05)
        yield {"input": np.zeros((8, 1, 8, 8), np.float32)}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_DATA)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.onnx").write_bytes(b"an older result")
    args = ["-m", "oq", "quantize", MODEL, "-t", "ort", "-d", "slow:feeds", "-o", "out/old.onnx"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    with subprocess.Popen(
        [sys.executable, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
        # a shell that runs the tests in the background lets them, and so oq, ignore interrupts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None and process.stdout is not None
        assert any("fed 3" in line for line in process.stderr), "calibration never started"
        process.send_signal(signal.SIGINT)
        rest = ""
        for line in process.stderr:  # a second reader would race with this one for what is left
            rest += line
            if line in ("fed 103\n", "fed 203\n"):
                # Still running after five seconds: Python ignores an interrupt that meets a
                # destructor, and a user presses the keys again.
                process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        code = process.wait(timeout=60)
    assert code == 130 and rest.endswith("oq: interrupted\n")
    assert out == "" and ("Traceback" not in rest or "Exception ignored" in rest)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["old.onnx"]
    assert (tmp_path / "out" / "old.onnx").read_bytes() == b"an older result"


# ---- calibration


def test_one_pass_then_every_calibrator_and_ranges_to_files(run: Oq, tmp_path: Path) -> None:
    done = run("calibrate", MODEL, "-t", "trt", "-d", CALIB, "--samples", "64", "--cache", "c")
    assert done.code == 0 and "over 64 samples" in done.out
    made = {}
    for name in ("minmax", "entropy", "mse", "percentile", "moving_average", "auto"):
        done = run("quantize", MODEL, "-t", "trt", "--cache", "c", "--calibrator", name,
                   "-o", f"{name}.onnx", "--save-ranges", f"{name}.json")  # fmt: skip
        assert done.code == 0, done.err
        made[name] = json.loads(Path(f"{name}.json").read_text())["ranges"]
        assert all(lo <= 0 <= hi for lo, hi in made[name].values())
    assert all(found.keys() == made["minmax"].keys() for found in made.values())
    assert made["percentile"] != made["minmax"]
    done = run("quantize", MODEL, "-t", "trt", "--ranges", "mse.json", "-o", "again.onnx")
    assert done.code == 0
    first, second = (onnx.load(n).graph for n in ("mse.onnx", "again.onnx"))
    assert first == second


def test_random_data_is_loud(run: Oq) -> None:
    done = run("quantize", MODEL, "-t", "ort", "-d", "random", "-o", "out.onnx")
    assert done.code == 0 and "CALIBRATED ON RANDOM NUMBERS" in done.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--calibrator-for", "x"], "--calibrator-for 'x': expected GLOB=NAME"),
        (["--calibrator-for", "nothing=mse"], "matches no quantized tensor, layer or op"),
        (["--calibrator-for", "*=most"], "no calibrator 'most'"),
        (["--set", "steps"], "--set 'steps': expected KEY=VALUE"),
        (["--set", "mse.steps=9"], "calibrator 'mse' is not used"),
        (["--ranges", "missing.json"], "no ranges file at 'missing.json'"),
        (["--weights", "best"], "--weights 'best': expected max or mse"),
        (["--cache", "no/such/folder"], "does not exist"),
    ],
)
def test_bad_calibration_options(run: Oq, args: list[str], message: str) -> None:
    done = run("quantize", MODEL, "-t", "trt", "-d", CALIB, "--samples", "8", *args)
    assert done.code == 2 and message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([MODEL], "oq calibrate needs one MODEL.onnx and --data, or --merge A B"),
        (["--merge", "missing"], "no calibration cache at 'missing'"),
        (["--cache", "no/such/folder", MODEL, "-d", CALIB], "does not exist"),
    ],
)
def test_bad_input_to_calibrate(run: Oq, args: list[str], message: str) -> None:
    done = run("calibrate", *args)
    assert done.code == 2 and message in done.err


def test_doctor(run: Oq) -> None:
    words, told = run("doctor"), json.loads(run("doctor", "--json").out)
    assert words.code == 0 and words.out.startswith(f"oq {oq.__version__}, Python ")
    assert told["packages"]["onnx"] == onnx.__version__
    assert max(map(len, words.out.splitlines())) <= 80


def test_shell_completion_names_the_commands() -> None:
    """bash's request, as the installed script makes it."""
    asked = {"_OQ_COMPLETE": "complete_bash", "COMP_WORDS": "oq do", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['oq']; from oq.cli import main; main()"],
        env={**os.environ, **asked, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["doctor"]


@pytest.mark.parametrize("command", ["", "quantize", "verify", "calibrate", "sensitivity", "check"])
def test_help_fits_the_terminal(run: Oq, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = run(*filter(None, [command, "--help"]))
    assert max(map(len, found.out.splitlines())) <= 80
    assert "..." not in found.out.partition("Commands:")[2]  # no sentence is cut off


def test_a_wrong_flag_is_json_too_where_json_is_asked_for() -> None:
    command = [sys.executable, "-m", "oq", "quantize", "m.onnx", "--batch-size", "x", "--json"]
    found = subprocess.run(command, capture_output=True, text=True)
    said = json.loads(found.stdout)
    assert found.returncode == 2 and said["schema"] == 1
    assert said["error"]["kind"] == "OptionError" and "'--batch-size'" in said["error"]["message"]
    assert "Error: Invalid value for '--batch-size'" in found.stderr


@pytest.mark.parametrize(
    ("words", "usage"), [([], "oq [OPTIONS]"), (["plan"], "oq plan [OPTIONS]")]
)
def test_help_is_a_word_as_well(words: list[str], usage: str) -> None:
    argv = ["oq", "help", *words]
    code = f"import sys; sys.argv = {argv!r}; from oq.cli import main; main()"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(f"Usage: {usage}")
    assert "{" not in found.stdout.splitlines()[0]
