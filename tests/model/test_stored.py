"""Weights in files give the file that weights in memory give."""

import gc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import oq
from oq.errors import OptionError
from oq.model import stored
from oq.model.session import Session
from oq.model.stored import Spill, place_of, spilling, values_of
from tests.small import normal, small

BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"
DATA = str(BUNDLED / "digits_calib.npz")


@pytest.mark.parametrize(
    "name, target, settings",
    [
        ("residual", "trt", {}),
        ("transformer", "ort", {}),
        ("transformer", "ort", {"weights": "int4"}),
        ("separable", "dpu", {}),
    ],
)
@pytest.mark.parametrize("given", ["path", "model"])
def test_the_file_does_not_depend_on_where_weights_lie(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    target: str,
    settings: dict[str, str],
    given: str,
) -> None:
    model = BUNDLED / f"{name}.onnx"
    data = None if settings else DATA

    def quantized() -> oq.Result:
        source = model if given == "path" else onnx.load(model)
        return oq.quantize(
            source, target, data, settings=settings, refine="none", verify=False, samples=8
        )

    exact = quantized()
    exact.save(tmp_path / "memory.onnx")
    monkeypatch.setattr(stored, "LEAST_MODEL", 1)
    monkeypatch.setattr(stored, "LEAST_TENSOR", 256)
    light = quantized()
    light.save(tmp_path / "files.onnx")
    assert any(stored.is_stored(t) for t in light.light.graph.initializer)
    assert (tmp_path / "memory.onnx").read_bytes() == (tmp_path / "files.onnx").read_bytes()
    assert light.model == exact.model
    assert light.report.bytes_after == (tmp_path / "files.onnx").stat().st_size


def test_refinement_does_not_depend_on_where_weights_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps that change weights, the second after the first."""

    def refined(name: str) -> oq.Result:
        steps, model = "smooth,bias,round", BUNDLED / "transformer.onnx"
        result = oq.quantize(model, "ort", DATA, refine=steps, verify=False, samples=24)
        result.save(tmp_path / name)
        return result

    found = refined("memory.onnx")
    assert [o.kept for o in found.report.refinement if o.step != "bias"] == [True, True]
    monkeypatch.setattr(stored, "LEAST_MODEL", 1)
    monkeypatch.setattr(stored, "LEAST_TENSOR", 256)
    refined("files.onnx")
    assert (tmp_path / "memory.onnx").read_bytes() == (tmp_path / "files.onnx").read_bytes()


@pytest.mark.parametrize("kind", ["float32", "int8", "int4", "bfloat16", "float8_e4m3fn"])
def test_values_come_back(kind: str) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(
        {
            "float32": TensorProto.FLOAT,
            "int8": TensorProto.INT8,
            "int4": TensorProto.INT4,
            "bfloat16": TensorProto.BFLOAT16,
            "float8_e4m3fn": TensorProto.FLOAT8E4M3FN,
        }[kind]
    )
    spill = Spill()
    values = [np.clip(normal(5, 7, seed=i) * 3, -8, 7).astype(dtype) for i in range(2)]
    tensors = [spill.put(f"t{i}", v) for i, v in enumerate(values)]
    for tensor, exact in zip(tensors, values, strict=True):
        found = values_of(tensor)
        assert found.dtype == exact.dtype and np.array_equal(found, exact)


def test_the_files_go_with_the_run() -> None:
    with spilling() as spill:
        path = place_of(spill.put("w", normal(4))).path
    assert path.is_file()
    del spill
    gc.collect()
    assert not path.parent.exists()


def test_a_session_reads_two_folders() -> None:
    text = "net (float[n,32] x) => (float[n,32] y) { h = MatMul(x, w) y = MatMul(h, v) }"
    whole = small(text, {"w": normal(32, 32), "v": normal(32, 32, seed=1)})
    apart, spills = onnx.ModelProto(), (Spill(), Spill())
    apart.CopyFrom(whole)
    for seed, (tensor, spill) in enumerate(zip(apart.graph.initializer, spills, strict=True)):
        tensor.CopyFrom(spill.put(tensor.name, normal(32, 32, seed=seed)))
    x = {"x": normal(2, 32)}
    assert np.array_equal(Session(apart).run(x)[0], Session(whole).run(x)[0])


def test_no_room_for_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OptionError, match=r"No space left on device; name a folder .* TMPDIR"):
        Spill().put("w", normal(4))
