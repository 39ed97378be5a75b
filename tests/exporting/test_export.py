"""``oq export``: what it writes, what it proves, and every sentence it refuses with."""

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq.model.session
from oq.errors import ModelError, OptionError, OqError
from oq.exporting.export import ExportReport, export
from oq.numerics.values import Array

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

USER_MODULE = '''
"""A stranger's module: factories that work, and one for each way to go wrong."""
import torch
from torch import nn

T = torch.arange(1.0, 13.0).reshape(3, 4) / 12

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.drop = nn.Linear(4, 2), nn.Dropout(0.9)
    def forward(self, x):
        return self.drop(self.linear(x))

class WithMethod(Net):
    def example_inputs(self):
        return (T[:1],)

class Keywords(nn.Module):
    def forward(self, a, *, b=None):
        return {"difference": a - b, "largest": (a + 2 * b).argmax(-1)}

class Variadic(nn.Module):
    def forward(self, first, *rest):
        return first - 2 * rest[0] + 3 * rest[1]

class Noisy(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, training=True)

class Loop(nn.Module):
    def forward(self, x):
        return torch.stack([row * 2 for row in x])

class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)
        self.norm.running_var.fill_(4.0)
    def forward(self, x):
        return self.norm(self.conv(x))

def pair():
    print("words for the user")
    return Net(), T
def method(): return WithMethod()
def keywords(): return Keywords(), {"b": T, "a": T * T}
def variadic(): return Variadic(), (T, T + 1, T + 2)
def convolution(): return Convolution(), torch.rand(2, 1, 5, 5)
def noisy(): return Noisy(), T
def loop(): return Loop(), T
def branch(): return Branch(), T
def bare(): return Net()
def number(): return 3
def broken(): raise KeyError("no weights here")
def misfit(): return nn.Linear(7, 2), T
def scalar(): return Net(), (torch.tensor(1.0),)
def not_tensors(): return Net(), ([1, 2],)
def text(): return Net(), "x"
def empty(): return Net(), ()
def uneven(): return Variadic(), (T, T[:2], T)
def brain(): return Net(), T.bfloat16()
'''


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """``USER_MODULE`` in the current folder, which is not on the import path."""
    (tmp_path / "stranger.py").write_text(USER_MODULE)
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    return "stranger"


def test_export_gives_a_file_that_equals_torch_at_any_batch(
    user_module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = export(f"{user_module}:pair", "net.onnx", output_names=["scores"])

    assert [(t.name, t.dtype, t.shape) for t in report.inputs] == [("x", "float32", ("batch", 4))]
    assert [(t.name, t.shape) for t in report.outputs] == [("scores", ("batch", 2))]
    assert {comparison.batch for comparison in report.comparisons} == {2, 3}
    assert report.max_abs_error < 1e-6
    assert report.sqnr_db > 100
    assert report.size == Path("net.onnx").stat().st_size
    # Evaluation mode: the dropout of 0.9 is gone, and the same seed gives the same weights.
    stranger = sys.modules[user_module]
    torch.manual_seed(0)
    net, x = stranger.Net().eval(), stranger.T.repeat(3, 1)
    got = oq.model.session.run(Path("net.onnx"), {"x": x.numpy()})["scores"]
    np.testing.assert_allclose(got, net(x).detach().numpy(), atol=1e-6)
    # Only the command line prints; the factory's own words must not end up in a JSON document.
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "words for the user\n"


def test_export_leaves_one_file_without_the_exporters_notes(user_module: str) -> None:
    before = set(Path.cwd().iterdir())
    export(f"{user_module}:pair", "net.onnx")
    written = {path.name for path in set(Path.cwd().iterdir()) - before}
    assert written - {"__pycache__"} == {"net.onnx"}
    content = Path("net.onnx").read_bytes()
    assert b"stack_trace" not in content
    assert str(Path.cwd()).encode() not in content
    assert not any(node.metadata_props for node in onnx.load("net.onnx").graph.node)


def test_export_is_deterministic_and_follows_its_seed(user_module: str) -> None:
    state = torch.random.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        export(f"{user_module}:pair", f"{name}.onnx", seed=seed)
    a, b, c = (Path(f"{name}.onnx").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("factory", "inputs"),
    [("method", ["x"]), ("keywords", ["b", "a"]), ("variadic", None)],
)
def test_export_takes_examples_wherever_they_are(
    user_module: str, factory: str, inputs: list[str] | None
) -> None:
    report = export(f"{user_module}:{factory}", "net.onnx")
    assert all(tensor.shape is not None and tensor.shape[0] == "batch" for tensor in report.inputs)
    if inputs is not None:
        assert [tensor.name for tensor in report.inputs] == inputs
    else:
        assert len(report.inputs) == 3


def test_an_absent_folder_is_refused_before_the_factory_runs(tmp_path: Path) -> None:
    def never() -> object:
        raise AssertionError("the factory was called")

    for path, message in ((tmp_path / "absent" / "net.onnx", "no folder"), (tmp_path, "a folder")):
        with pytest.raises(OptionError, match=message):
            export(never, path)


def test_export_takes_a_callable_and_gives_its_modules_back_as_they_were(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.9))
    net[0].eval()
    export(lambda: (net, torch.ones(1, 4)), tmp_path / "net.onnx")
    assert [module.training for module in net.modules()] == [True, False, True]


def test_unfused_export_keeps_batchnorm(user_module: str) -> None:
    fused = export(f"{user_module}:convolution", "fused.onnx")
    unfused = export(f"{user_module}:convolution", "unfused.onnx", fuse=False)
    assert "BatchNormalization" not in fused.ops
    assert unfused.ops == {"BatchNormalization": 1, "Conv": 1}
    x = np.ones((1, 1, 5, 5), np.float32)
    one, two = (
        next(iter(oq.model.session.run(Path(name), {"x": x}).values()))
        for name in ("fused.onnx", "unfused.onnx")
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_a_file_is_taken_by_its_path(user_module: str, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(
        USER_MODULE + "\ndef example_inputs(): return torch.ones(2, 4)\n"
    )
    for path in ("./beside.py", str(tmp_path / "beside.py")):
        assert export(f"{path}:bare", "net.onnx").ops == {"Gemm": 1}


def test_opset_is_the_one_asked_for(user_module: str) -> None:
    report = export(f"{user_module}:pair", "net.onnx", opset=18)
    assert report.opset == 18
    assert onnx.load("net.onnx").opset_import[0].version == 18


REFUSED: dict[str, tuple[str, dict[str, Any], type[OqError], str]] = {
    "no colon": ("stranger", {}, OptionError, "give MODULE:FACTORY"),
    "no file": ("./absent.py:make", {}, OptionError, "there is no file './absent.py'"),
    "file fails": ("./broken.py:make", {}, OptionError, r"importing ./broken.py .*broken\.py:1"),
    "no module": ("absent_module:make", {}, OptionError, "importing absent_module"),
    "no factory": ("stranger:absent", {}, OptionError, "has no callable 'absent'; it has .*bare"),
    "not a module": ("stranger:number", {}, OptionError, "returned int; it must return a torch"),
    "factory fails": ("stranger:broken", {}, OptionError, r"no weights here.*stranger\.py:\d+"),
    "no examples": ("stranger:bare", {}, OptionError, "no example inputs for stranger:bare: let"),
    "misfit": ("stranger:misfit", {}, OptionError, r"does not run on its .* shape \[2, 4\]"),
    "scalar": ("stranger:scalar", {}, OptionError, "input 0 .* the batch as its first axis"),
    "not tensors": ("stranger:not_tensors", {}, OptionError, r"input 0 .* is \[1, 2\]"),
    "text": ("stranger:text", {}, OptionError, "are a str; accepted are a tensor"),
    "empty": ("stranger:empty", {}, OptionError, "are empty"),
    "uneven": ("stranger:uneven", {}, OptionError, r"first axis \(0: 3, 1: 2, 2: 3\)"),
    "bfloat16": ("stranger:brain", {}, OptionError, "bfloat16, which NumPy cannot hold"),
    "batch 1": ("stranger:pair", {"batch": 1}, OptionError, "give 2 or more"),
    "old opset": ("stranger:pair", {"opset": 11}, OptionError, "at opset 11: the file would be"),
    "random": ("stranger:noisy", {}, ModelError, "differs from torch: output .*SQNR"),
    "fixed batch": ("stranger:loop", {}, ModelError, "the batch of stranger:loop cannot vary"),
    "branch on data": ("stranger:branch", {}, ModelError, "torch cannot export stranger:branch"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line_and_leave_no_file(user_module: str, case: str) -> None:
    factory, options, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message) as caught:
        export(factory, "net.onnx", **options)
    assert "\n" not in str(caught.value)
    assert not list(Path.cwd().glob("*.onnx*")) + list(Path.cwd().glob(".oq-*"))


def test_a_file_wrong_at_one_batch_size_only_is_refused(
    user_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest: Callable[..., dict[str, Array]] = oq.model.session.run

    def wrong_at_three(
        model: Path, feeds: Mapping[str, Array], outputs: tuple[str, ...]
    ) -> dict[str, Array]:
        found = honest(model, feeds, outputs)
        rows = len(next(iter(feeds.values())))
        return {name: value + (0.01 if rows == 3 else 0) for name, value in found.items()}

    Path("net.onnx").write_text("the user's earlier file")
    monkeypatch.setattr(oq.model.session, "run", wrong_at_three)
    with pytest.raises(ModelError, match=r"off by 0\.01 .* batch 3"):
        export(f"{user_module}:pair", "net.onnx")
    assert Path("net.onnx").read_text() == "the user's earlier file"
    loose: ExportReport = export(f"{user_module}:pair", "net.onnx", tolerance=1.0)
    assert math.isclose(loose.max_abs_error, 0.01, rel_tol=1e-3)


@pytest.mark.parametrize("absent", ["torch", "onnxscript"])
def test_without_torch_the_module_imports_and_says_what_to_install(absent: str) -> None:
    script = f"""
import sys
sys.modules[{absent!r}] = None
import oq.exporting.export, oq.exporting.factory, oq.exporting.trace
assert "torch" not in sys.modules or sys.modules["torch"] is None
try:
    oq.exporting.export.export("a:b", "c.onnx")
except oq.errors.MissingExtra as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    line = "pip install torch onnxscript safetensors"
    expected = f"oq export needs {absent}, which is not installed: {line}"
    assert done.stdout.strip() == expected


def test_a_module_is_quantized_in_place_of_a_model(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 10)
    )
    images = torch.randn(64, 3, 8, 8)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images), batch_size=8)
    result = oq.quantize(module, "ort", loader, example_inputs=images[:2], refine="none")
    assert result.report.model == "Sequential" and result.report.samples == 56
    result.save(tmp_path / "net.onnx")
    (name,) = (v.name for v in result.model.graph.input)
    got = next(iter(oq.model.session.run(tmp_path / "net.onnx", {name: images.numpy()}).values()))
    with torch.no_grad():
        wanted = module(images).numpy()
    noise = float(((got - wanted) ** 2).sum() / (wanted**2).sum())
    assert 1e-6 < noise < 1e-2  # quantized, and the same network
    assert module.training  # as it was given


def test_what_is_no_model_is_refused() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(OptionError, match="Identity is a torch module and has no example_inputs"):
        oq.quantize(torch.nn.Identity(), "ort", {})
    with pytest.raises(OptionError, match=r"the model is a int; expected a path, an onnx\.Model"):
        oq.make_plan(3, "ort")  # type: ignore[arg-type]


def test_example_inputs_of_the_module_itself() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(4, 3)
    module.example_inputs = torch.randn(2, 4)
    plan = oq.make_plan(module, "trt", mode="naive")
    assert [g.ops[0] for g in plan.groups] == ["Gemm"]
