"""A calibrator for some: by tensor, by node, by op; the first glob that fits wins."""

import numpy as np
import onnx
import pytest

import oq
from oq.calibration.measure import measure
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.numerics.values import INT8_AFFINE, INT8_NARROW, UINT8, Array
from oq.pipeline import make_plan
from oq.planning import registry
from oq.planning.overrides import Choice, Layer, Overrides, apply_layers, parse_layer
from oq.planning.setup import make_methods
from oq.planning.spec import Own, Plan, QuantSpec
from tests.graphs import Net

X = np.random.default_rng(0).normal(size=(40, 4, 8, 8)).astype(np.float32)


def network() -> onnx.ModelProto:
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    net.node("Sigmoid", [net.conv("r", "d")], "s")
    net.node("Relu", [net.conv("s", "e")], "q")
    return net.model("q")


def named(*choices: Choice) -> dict[str, str]:
    """tensor -> the calibrator its site names, where it names one."""
    view = Graph(network()).view()
    layers = Overrides(calibrators=choices).all_layers
    plan = apply_layers(make_plan(network(), "ort"), view, registry.target("ort"), layers)
    return {
        s.tensor: s.spec.calibrator
        for s in plan.sites
        if isinstance(s.spec, Own) and s.spec.calibrator is not None
    }


def own_activations() -> set[str]:
    view = Graph(network()).view()
    return {
        s.tensor
        for s in make_plan(network(), "ort").sites
        if isinstance(s.spec, Own) and not view.is_constant(s.tensor)
    }


def test_by_tensor_node_and_op() -> None:
    assert named(("x", "mse")) == {"x": "mse"}
    assert named(("n_r", "mse")) == {"r": "mse"}
    assert named(("Relu", "mse")) == {"r": "mse", "q": "mse"}
    assert named(("n_[rq]", "mse")) == {"r": "mse", "q": "mse"}
    # any node of the kernel that writes the tensor stands for it
    assert named(("n_c", "mse")) == {"r": "mse"}
    assert named() == {}


def test_the_first_match_wins_and_constants_are_never_meant() -> None:
    assert named(("r", "mse"), ("Relu", "entropy")) == {"r": "mse", "q": "entropy"}
    assert named(("Relu", "entropy"), ("r", "mse")) == {"r": "entropy", "q": "entropy"}
    everything = named(("*", "mse"))
    assert set(everything) == own_activations()
    assert not any(t.startswith(("w_", "b_")) for t in everything)


@pytest.mark.parametrize("glob", ["w_c", "nothing", "relu", "Conv?"])
def test_a_glob_that_matches_nothing_is_refused(glob: str) -> None:
    with pytest.raises(OptionError, match="matches no quantized tensor, layer or op") as caught:
        named(("x", "mse"), (glob, "max"))
    assert repr(glob) in str(caught.value)


def scale(model: onnx.ModelProto, tensor: str) -> float:
    found = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    return float(found[f"{tensor}_scale"])


def quantize(**options: object) -> onnx.ModelProto:
    bare = {"verify": False, "refine": "none"}
    return oq.quantize(network(), "trt", X, **bare, **options).model  # type: ignore[arg-type]


def test_only_the_chosen_tensor_changes() -> None:
    plain = quantize()
    found = quantize(calibrator_for=[("x", "percentile")], settings={"percentile.percentile": 90.0})
    assert scale(found, "x") == pytest.approx(float(np.percentile(np.abs(X), 90)) / 127, rel=0.01)
    assert scale(found, "r") == scale(plain, "r")


def test_settings_go_to_whom_they_name() -> None:
    methods = make_methods(
        "percentile",
        {"percentile": 99.0, "moving_average.averaging_constant": 0.5},
        Overrides(calibrators=(("x", "moving_average"), ("r", "minmax"))),
    )
    assert repr(methods.default) == repr(methods.of("percentile"))
    assert "99.0" in repr(methods.of(None))
    assert "0.5" in repr(methods.of("moving_average"))
    assert methods.of("minmax") != methods.default


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": {"mse.steps": 9}}, "--set mse.steps: calibrator 'mse' is not used"),
        ({"settings": {"steps": 9}}, "calibrator 'minmax' has no setting 'steps'"),
        ({"calibrator_for": [("x", "most")]}, "no calibrator 'most'"),
        (
            {"calibrator_for": [("x", "mse")], "settings": {"mse.steps": 0}},
            "steps must be 2 or more",
        ),
    ],
)
def test_what_cannot_be_meant(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        quantize(**options)


def test_statistics_are_kept_only_where_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Array | None] = {}

    def watch(job: object, *args: object) -> object:
        found = measure(job, *args)  # type: ignore[arg-type]
        seen.update({t: s.histogram for t, s in found.statistics.items()})
        return found

    monkeypatch.setattr("oq.refine.recalibrate.measure", watch)
    quantize(calibrator_for=[("r", "mse")])
    assert seen["r"] is not None
    assert [t for t, h in seen.items() if h is not None] == ["r"]


def spec(plan: Plan, tensor: str) -> QuantSpec:
    (found,) = [s.spec for s in plan.sites if s.tensor == tensor]
    return found


def test_a_layer_gets_the_grid_that_is_wished_for() -> None:
    wide = make_plan(network(), "ort", layers=[Layer("n_c", dtype="int8", symmetric=False)])
    assert spec(wide, "r") == Own(INT8_AFFINE)
    assert spec(wide, "q") == Own(UINT8, whole=True)
    one = make_plan(network(), "ort", layers=[Layer("n_d", per_channel=False)])
    assert spec(one, "w_d") == Own(INT8_NARROW, None)
    assert spec(one, "w_e") == Own(INT8_NARROW, 0)


def test_the_first_layer_that_speaks_of_a_thing_wins() -> None:
    layers = [Layer("n_c", dtype="int8"), Layer("Conv", dtype="uint8", calibrator="mse")]
    plan = make_plan(network(), "ort", layers=layers)
    assert spec(plan, "r") == Own(INT8_AFFINE, calibrator="mse")
    assert spec(plan, "q") == Own(UINT8, calibrator="mse")


def test_int16_raises_the_opset_and_runs() -> None:
    model = quantize_for("ort", layers=[Layer("n_c", dtype="int16")])
    assert next(o.version for o in model.opset_import if not o.domain) == 21
    zero = {t.name: t.data_type for t in model.graph.initializer}["r_zero_point"]
    assert zero == onnx.TensorProto.INT16
    onnx.checker.check_model(model, full_check=True)


def quantize_for(target: str, **options: object) -> onnx.ModelProto:
    return oq.quantize(network(), target, X, verify=False, **options).model  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Layer("n_c", dtype="int4"), "has no int4 activations; expected uint8 affine"),
        (Layer("n_c", dtype="uint8", symmetric=True), "has no uint8 symmetric activations"),
        (Layer("n_d", weights="int4"), "has no int4 weights beside int8"),
        (Layer("n_z", dtype="int8"), "'n_z' matches no quantized tensor"),
        (Layer("w_d", dtype="int8"), "'w_d' matches no quantized tensor"),
    ],
)
def test_wishes_that_cannot_be_met(layer: Layer, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_plan(network(), "ort", layers=[layer])


def test_float_is_a_dtype() -> None:
    plan = make_plan(network(), "ort", layers=[Layer("n_d", dtype="float")])
    assert "n_d" in {s.node for s in plan.skips}


def test_selective_quantizes_what_is_listed_and_nothing_else() -> None:
    plan = make_plan(network(), "ort", layers=[Layer("n_d", per_channel=True)], mode="selective")
    assert [g.nodes for g in plan.groups] == [("n_d",)]
    assert {s.reason for s in plan.skips} == {"not selected by any --layer (--mode selective)"}


def test_a_layer_from_the_command_line() -> None:
    found = parse_layer("conv:1/*:dtype=int16,symmetric=True,calibrator=mse")
    assert found == Layer("conv:1/*", dtype="int16", symmetric=True, calibrator="mse")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv", "expected GLOB:key=value"),
        ("conv:bits=4", "no key 'bits'; expected dtype, symmetric"),
        ("conv:symmetric=maybe", "symmetric is 'maybe'; expected true or false"),
    ],
)
def test_a_layer_that_says_nothing_known(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_layer(text)
