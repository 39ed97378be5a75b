"""The stages in order: what the Python API promises, on small networks and awkward input."""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import oq
from oq import pipeline
from oq.errors import DataError, ModelError, OptionError
from oq.model.session import run
from oq.model.view import GraphView
from oq.numerics.values import Array
from tests.graphs import IMAGE, Net, finish

X = np.random.default_rng(0).normal(size=(20, 4, 8, 8)).astype(np.float32)


def network(shape: tuple[int | str, ...] = IMAGE) -> onnx.ModelProto:
    net = Net()
    net.node("Relu", [net.conv(net.input("x", shape), "c")], "r")
    return net.model("r")


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def scales(model: onnx.ModelProto) -> dict[str, Array]:
    return {k: v for k, v in constants(model).items() if k.endswith("_scale")}


def test_the_three_lines_of_the_readme(tmp_path: Path) -> None:
    np.savez(tmp_path / "calib.npz", x=X)
    onnx.save(network(), tmp_path / "model.onnx")
    result = oq.quantize(tmp_path / "model.onnx", target="trt", data=tmp_path / "calib.npz")
    result.save(tmp_path / "model.int8.onnx")
    assert str(result.report).startswith("oq ")
    # And the other two public functions, after the first one was used.
    found = oq.verify(tmp_path / "model.onnx", tmp_path / "model.int8.onnx", X, latency=False)
    assert found.samples == 20
    assert oq.check(tmp_path / "model.int8.onnx", "trt") == ()
    assert oq.make_plan(tmp_path / "model.onnx", "trt").target == "trt"


def test_public_names_are_there_and_no_module_hides_one() -> None:
    modules = {p.stem for p in Path(oq.__file__).parent.iterdir()}
    assert not set(oq.__all__) & modules
    for name in oq.__all__:
        assert getattr(oq, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = oq.nothing


def test_the_model_in_memory_is_left_alone() -> None:
    model = network()
    before = model.SerializeToString(deterministic=True)
    oq.quantize(model, "ort", X)
    oq.make_plan(model, "trt")
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("target", ["ort", "trt"])
def test_equal_input_gives_equal_bytes(target: str) -> None:
    first, second = (oq.quantize(network(), target, X).model for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


def test_scales_are_those_of_the_extremes() -> None:
    result = oq.quantize(network(), "trt", X, verify=False, refine="none")
    found = scales(result.model)
    assert found["x_scale"] == np.float32(np.abs(X).max() / 127)
    weight = constants(network())["w_c"]
    expected = np.abs(weight).max(axis=(1, 2, 3)) / 127
    np.testing.assert_allclose(found["w_c_scale"], expected, rtol=1e-6)


def test_provenance_tells_how_the_file_was_made() -> None:
    model = network()
    model.metadata_props.add(key="author", value="someone")
    model.metadata_props.add(key="oq.target", value="an older run")
    result = oq.quantize(model, "trt", X)
    kept = {p.key: p.value for p in result.model.metadata_props}
    assert len(kept) == len(result.model.metadata_props)
    assert kept["author"] == "someone"
    assert (kept["oq.version"], kept["oq.target"]) == (oq.__version__, "trt")
    assert kept["oq.samples"] == "18"
    assert re.fullmatch(r"statistics sha256:[0-9a-f]{64}", kept["oq.data.source"])
    assert re.fullmatch(r"r \d+\.\d dB", kept["oq.error"])
    assert (
        kept["oq.data.source"]
        != {p.key: p.value for p in oq.quantize(model, "trt", X[:9]).model.metadata_props}[
            "oq.data.source"
        ]
    )


# ---- which samples go where


@pytest.mark.parametrize(
    ("data", "calibrated", "verified"),
    [
        (X, 18, 2),
        (X[:8], 7, 1),
        (X[:2], 1, 1),
        # Nothing can be spared: the one sample serves both.
        (X[:1], 1, 1),
        ([{"x": X}], 20, 20),
        ([{"x": X[:1]}, {"x": X[1:3]}], 1, 2),
        ({"x": X, "labels": np.zeros(20)}, 18, 2),
        (lambda: iter([{"x": X[:5]}] * 3), 15, 0),
    ],
)
def test_every_eighth_sample_is_held_back(data: Any, calibrated: int, verified: int) -> None:
    verify = verified > 0
    report = oq.quantize(network(), "ort", data, verify=verify).report
    assert report.samples == calibrated
    found = report.verification
    assert (0 if found is None else found.samples) == verified


def test_held_back_samples_do_not_calibrate() -> None:
    data = X.copy()
    data[7] = 1000
    found = scales(oq.quantize(network(), "trt", data).model)["x_scale"]
    assert found == np.float32(np.abs(np.delete(X, [7, 15], axis=0)).max() / 127)
    whole = scales(oq.quantize(network(), "trt", data, verify=False).model)["x_scale"]
    assert whole == np.float32(1000 / 127)


@pytest.mark.parametrize(("count", "calibrated"), [(4, 4), (7, 4), (8, 4), (20, 16)])
def test_a_fixed_batch(count: int, calibrated: int) -> None:
    report = oq.quantize(network((4, 4, 8, 8)), "ort", X[:count]).report
    assert report.samples == calibrated
    assert report.verification is not None and report.verification.samples == 4


def test_samples_are_drawn_by_the_seed() -> None:
    def fingerprint(seed: int) -> str:
        model = oq.quantize(network(), "ort", X, samples=5, seed=seed, verify=False).model
        found: str = {p.key: p.value for p in model.metadata_props}["oq.data.source"]
        return found

    assert oq.quantize(network(), "ort", X, samples=5, verify=False).report.samples == 5
    assert fingerprint(0) == fingerprint(0) != fingerprint(1)


def test_data_that_can_be_read_once_is_enough_without_verification() -> None:
    def feeds() -> Iterator[dict[str, Array]]:
        return ({"x": X[i : i + 2]} for i in range(0, 20, 2))

    assert oq.quantize(network(), "ort", feeds(), verify=False).report.samples == 20
    with pytest.raises(DataError, match="can be read only once and is needed again"):
        oq.quantize(network(), "ort", feeds())


def test_progress_counts_samples_of_each_stage() -> None:
    seen: list[tuple[str, int, int | None]] = []
    oq.quantize(network(), "ort", X, batch_size=4, watch=lambda *told: seen.append(told))
    stages = {k: list(g) for k, g in itertools.groupby(seen, key=lambda told: told[0])}
    assert stages["calibrate"][-1] == ("calibrate", 18, 18)
    assert stages["verify"] == [("verify", 0, None), ("verify", 2, 2)]
    done = [told[1] for told in stages["calibrate"]]
    assert done == sorted(done)


def test_keep_float_reaches_the_plan_and_the_report() -> None:
    report = oq.quantize(network(), "ort", X, keep_float=["n_c"], verify=False).report
    reasons = {s.node: s.reason for s in report.plan.skips}
    assert reasons["n_c"] == "kept in float by --keep-float 'n_c'"
    with pytest.raises(OptionError, match="matches no node"):
        oq.quantize(network(), "ort", X, keep_float=["head"])


def test_a_kept_layer_between_integer_kernels_runs_in_float() -> None:
    net = Net()
    relu = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    model = net.model(net.conv(net.conv(relu, "d"), "e"))
    kept = oq.quantize(model, "ort", X, keep_float=["n_d"], verify=False).model
    found = oq.verify(model, kept, X, latency=False)
    assert found.kernels.ops["QLinearConv"] == 2


# ---- awkward values


def not_finite() -> onnx.ModelProto:
    """The square root of what is often negative."""
    net = Net()
    root = net.node("Sqrt", [net.conv(net.input("x"), "c")], "s")
    return net.model(net.conv(root, "d"))


def constant() -> onnx.ModelProto:
    """A dead layer: zeros, and what is made of zeros and a bias."""
    net = Net()
    net.constant("z", np.zeros((4, 4, 1, 1)))
    net.constant("b", [0, 1, -2, 3])
    dead = net.node("Conv", [net.input("x"), "z"], "c")
    alive = net.node("Conv", [dead, "z", "b"], "d")
    return net.model(net.conv(alive, "e"))


def weightless() -> onnx.ModelProto:
    net = Net()
    return net.model(net.node("Exp", [net.input("x")], "e"))


@pytest.mark.parametrize("target", ["ort", "trt"])
@pytest.mark.parametrize("build", [not_finite, constant, weightless])
def test_every_scale_is_finite_and_positive(
    target: str, build: Callable[[], onnx.ModelProto]
) -> None:
    result = oq.quantize(build(), target, X, verify=False)
    for name, values in scales(result.model).items():
        assert np.isfinite(values).all() and (values > 0).all(), name
    if build is not weightless:  # no Q/DQ, so nothing to check
        assert oq.check(result.model, target) == ()


def test_values_that_are_not_finite_are_counted_and_named() -> None:
    notes = oq.quantize(not_finite(), "trt", X, verify=False).report.notes
    conv = run(_first_layer(), {"x": X})["c"]
    lost = int((conv < 0).sum())
    said = f"'s': {lost} of {conv.size} values are NaN or infinite"
    assert any(note.startswith(said) for note in notes)


def _first_layer() -> onnx.ModelProto:
    net = Net()
    return net.model(net.conv(net.input("x"), "c"))


def test_constant_activations_stay_exact() -> None:
    result = oq.quantize(constant(), "ort", X)
    assert result.report.verification is not None
    assert result.report.verification.literal.outputs[0].sqnr_db > 30


# ---- refusals


def test_a_quantized_model() -> None:
    made = oq.quantize(network(), "ort", X, verify=False).model
    for call in (
        lambda: oq.quantize(made, "ort", X),
        lambda: oq.make_plan(made, "trt"),
    ):
        with pytest.raises(ModelError, match=r"quantized already: node 'x_QuantizeLinear' is a"):
            call()


def test_an_input_that_is_no_tensor() -> None:
    graph = helper.make_graph(
        [helper.make_node("SequenceAt", ["s", "i"], ["y"])],
        "g",
        [
            helper.make_tensor_sequence_value_info("s", 1, None),
            helper.make_tensor_value_info("i", 7, []),
        ],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    with pytest.raises(ModelError, match="input 's' is a sequence, not a tensor"):
        oq.quantize(finish(graph), "ort", X)


def test_models_with_other_inputs_or_outputs_are_not_compared() -> None:
    other = Net()
    other.node("Relu", [other.conv(other.input("z"), "c")], "r")
    with pytest.raises(ModelError, match=r"different inputs, \['x'\] and \['z'\]"):
        oq.verify(network(), other.model("r"), X)
    other = Net()
    other.node("Relu", [other.conv(other.input("x"), "c")], "q")
    with pytest.raises(ModelError, match=r"different outputs, \['r'\] and \['q'\]"):
        oq.verify(network(), other.model("q"), X)
    made = oq.quantize(network(), "ort", X, refine="none", verify=False).model
    with pytest.raises(ModelError, match="first model is quantized and the second is not"):
        oq.verify(made, network(), X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "tensorrt"}, OptionError, "no target 'tensorrt'; available: "),
        ({"calibrator": "most"}, OptionError, "no calibrator 'most'; available: "),
        ({"settings": {"keep": 1}}, OptionError, "has no setting 'keep'"),
        ({"provider": "abacus"}, OptionError, "provider 'abacus' is not in this onnxruntime"),
        ({"data": {"y": X, "z": X}}, DataError, "has 'y', 'z' where the model's inputs are 'x'"),
        ({"data": X[:, :2]}, DataError, r"'x' has shape \(1, 2, 8, 8\); the model expects"),
        ({"data": X[:0]}, DataError, "no samples"),
        ({"data": 5}, DataError, "data is a int; expected"),
        ({"model": "nothing.onnx"}, ModelError, "no model file at 'nothing.onnx'"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        oq.quantize(**{"model": network(), "target": "ort", "data": X, **options})
    assert "\n" not in str(caught.value)


def test_an_illegal_file_of_our_own_is_a_bug_not_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    from oq.planning.check import Finding

    def find(view: GraphView, target: object) -> tuple[Finding, ...]:
        return (Finding("scale", "error", "n", "it is wrong", "mend it"),)

    monkeypatch.setattr("oq.emission.write.check", find)
    with pytest.raises(RuntimeError, match=r"oq wrote an illegal graph \(1 errors\): \[scale\] n"):
        oq.quantize(network(), "ort", X, verify=False)


def test_finish_saves_and_says_what_comes_next(tmp_path: Path) -> None:
    result = oq.quantize(network(), "trt", X, verify=False)
    done = pipeline.finish(result, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").is_file()
    assert done.report.output == str(tmp_path / "out.onnx")
    assert f"--onnx={tmp_path / 'out.onnx'} --saveEngine=out.plan" in done.report.next_step


def test_completion_shows_the_public_names_alone() -> None:
    assert set(dir(oq)) == {*oq.__all__, "__version__"}
