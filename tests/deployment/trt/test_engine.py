"""What is asked of TensorRT, by version, and how its answers are read."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from oq.deployment.trt import engine
from oq.deployment.trt.engine import (
    BuildError,
    RefusedError,
    build_engine,
    layers_of,
    nodes_of,
    precision_of,
    time_engine,
)

Standin = Callable[..., ModuleType]
PROFILE = {"x": ((1, 3), (2, 3), (4, 3))}
WEAK = [("flag", "int8"), ("flag", "fp16")]


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "m.onnx").write_bytes(b"onnx")
    return str(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("version", "network", "flags"),
    [("8.6.1", 1, WEAK), ("10.3.0", 0, WEAK), ("10.13.3.9", 2, []), ("11.1.0", 0, [])],
)
def test_each_version_is_asked_in_its_way(
    version: str, network: int, flags: list[Any], tensorrt: Standin, file: str
) -> None:
    trt = tensorrt(version)
    assert build_engine(trt, file, PROFILE, ("INT8", "FP16")) == b"plan"
    assert [
        ("network", network),
        ("parsed", 4),
        *flags,
        ("shape", "x", PROFILE["x"]),
        ("profile",),
        ("verbosity", 2),
    ] == trt.CALLS


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("refused", RefusedError, "In node 3 .importConv.: UNSUPPORTED_NODE"),
        ("no gpu", BuildError, "nullptr"),
        ("no engine", BuildError, "log says why"),
    ],
)
def test_faults_are_one_line(
    fault: str, kind: type[Exception], said: str, tensorrt: Standin, file: str
) -> None:
    with pytest.raises(kind, match=said):
        build_engine(tensorrt(fault=fault), file, {}, ())


def test_a_damaged_plan_is_no_engine(tensorrt: Standin) -> None:
    with pytest.raises(BuildError, match="does not start"):
        layers_of(tensorrt(), b"other")


@pytest.mark.parametrize(
    ("layer", "precision", "nodes"),
    [
        (
            {"Inputs": [{"Format/Datatype": "Int8 NC/32HW32"}], "Metadata": "[ONNX Layer: a]"},
            *("int8", ["a"]),
        ),
        ({"Inputs": [{"DataType": "FP8", "Format": "HWC"}], "Name": "a + b"}, "fp8", ["a", "b"]),
        ({"Inputs": [{"Format/Datatype": "Row major linear FP16 format"}]}, "float16", [""]),
        ({"Inputs": [{"Datatype": "BFloat16"}], "Name": "c"}, "bfloat16", ["c"]),
        (
            {
                "Inputs": [{"DataType": "Float"}],
                "Metadata": "[ONNX Layer: a[0]]\x1e[ONNX Layer: b]",
            },
            *("float32", ["a[0]", "b"]),
        ),
        ({"Inputs": []}, "", [""]),
        ("d", "", ["d"]),
    ],
)
def test_layers_of_old_and_new_inspectors_are_read(
    layer: Any, precision: str, nodes: list[str]
) -> None:
    assert (precision_of(layer), nodes_of(layer)) == (precision, nodes)


class Cuda:
    """CUDA's functions, which all succeed but those named."""

    def __init__(self, failing: str = "") -> None:
        self.failing, self.calls = failing, list[str]()

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> int:
            self.calls.append(name)
            if name == "cudaMalloc":
                given[0]._obj.value = 4096
            return 2 if name == self.failing else 0

        return call


def test_runs_are_timed_after_others_and_memory_is_given_back(
    tensorrt: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt, cuda = tensorrt(), Cuda()
    monkeypatch.setattr(engine, "load_cuda", lambda: cuda)
    spent = time_engine(trt, b"plan", PROFILE, 5)
    assert len(spent) == 5 and min(spent) >= 0
    assert trt.CALLS.count(("run",)) == 15 == cuda.calls.count("cudaStreamSynchronize")
    assert ("runs at", "x", (2, 3)) in trt.CALLS and ("address", "y", 4096) in trt.CALLS
    assert cuda.calls.count("cudaMalloc") == cuda.calls.count("cudaFree") == 2
    monkeypatch.setattr(engine, "load_cuda", lambda: Cuda("cudaMalloc"))
    with pytest.raises(BuildError, match="error 2"):
        time_engine(trt, b"plan", PROFILE, 5)
