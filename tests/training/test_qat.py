"""Quantization-aware training on the digits: the file, the module, and the way between them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.errors import DataError, ModelError, OptionError
from oq.model.graph import Graph
from oq.model.qdq import Q
from oq.model.session import Session, Settings, expose, run
from oq.numerics.values import Array
from tests.small import normal, small

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"
RESIDUAL, SEPARABLE = BUNDLED / "residual.onnx", BUNDLED / "separable.onnx"
TARGETS = ("ort", "trt", "dpu", "coreml")
LITERAL = Settings(reading="literal")


def digits(name: str, count: int | None = None) -> Array:
    with np.load(BUNDLED / f"digits_{name}.npz") as arrays:
        return np.asarray(arrays["input"][:count])


def prepared(target: str, model: Path = SEPARABLE, **options: Any) -> Any:
    fixed = {"samples": 48, "refine": "none", "verify": False}
    return oq.prepare_qat(model, target, BUNDLED / "digits_calib.npz", **{**fixed, **options})


def train(qat: Any, steps: int, seed: int = 0) -> None:
    """Distillation from the float model, as a user would write it."""
    images = digits("calib")
    torch.set_num_threads(1)
    optimizer = torch.optim.Adam(qat.groups(3e-5, 1e-4))
    for i in range(steps):
        chosen = np.random.default_rng([seed, i]).integers(0, len(images), 32)
        x = torch.from_numpy(images[chosen])
        loss = (qat.module(x) - qat.teacher(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        qat.step()


def noise(model: onnx.ModelProto, float_model: Path = SEPARABLE) -> float:
    """Squared error of the outputs on images that nothing has seen."""
    x = {"input": digits("eval", 128)}
    exact, found = (
        next(iter(run(m, x, settings=LITERAL).values())) for m in (onnx.load(float_model), model)
    )
    return float(np.square(exact - found).sum())


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def codes(model: onnx.ModelProto, x: Array) -> dict[str, Array]:
    names = [n.outputs[0] for n in Graph(model).view().nodes if n.op == Q]
    read = Session(expose(model, names), LITERAL).run({"input": x}, names)
    return dict(zip(names, read, strict=True))


@pytest.mark.parametrize("target", TARGETS)
def test_untrained_it_is_the_file_that_quantize_writes(target: str) -> None:
    given = {"samples": 48, "verify": False}
    plain = oq.quantize(SEPARABLE, target, BUNDLED / "digits_calib.npz", **given)  # type: ignore[arg-type]
    qat = prepared(target, refine=None)
    assert qat.change().codes == qat.change().scales == 0
    made, wanted = constants(qat.finish().model), constants(plain.model)
    assert made.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(made[name], values)


@pytest.mark.parametrize("scales", ["frozen", "learned"])
@pytest.mark.parametrize("target", TARGETS)
def test_trained_it_is_legal_nearer_and_the_same_in_onnxruntime(target: str, scales: str) -> None:
    qat = prepared(target, scales=scales)
    first = qat.finish()
    before = noise(first.model)
    train(qat, 40)
    result = qat.finish()
    assert oq.check(result.model, target) == oq.check(first.model, target)
    onnx.checker.check_model(result.model, full_check=True)
    assert noise(result.model) < 0.95 * before
    assert "training changed" in str(result.report) and qat.change().codes > 100
    assert result.model.graph.node == first.model.graph.node
    x = digits("eval", 16)
    read = codes(result.model, x)
    fed = {n: torch.from_numpy(c.astype(np.float32)) for n, c in read.items()}
    with torch.no_grad():
        feeds = {"input": torch.from_numpy(x)}
        found = qat.module.evaluate(feeds, fed, None if target == "dpu" else fed)
    off = torch.cat([(found[n] - fed[n]).abs().reshape(-1) for n in fed])
    assert off.max() <= 1 and (off > 0).sum() <= (0 if target == "dpu" else 2)


def test_scales_stay_what_the_target_takes() -> None:
    """Powers of two with all shifts legal, float16 numbers, and products for biases: while they are
    trained at a rate that moves all of them."""
    for target in ("dpu", "coreml", "ort"):
        qat = prepared(target, scales="learned")
        optimizer = torch.optim.SGD(qat.groups(0.0, 1.0))
        first = constants(qat.finish().model)
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            for parameter in qat.groups(0.0)[1]["params"]:
                parameter.grad = torch.randn(parameter.shape, generator=generator) * 0.4
            optimizer.step()
            qat.step()
            made = qat.finish().model
            assert not [f for f in oq.check(made, target) if f.severity == "error"]
        now = constants(made)
        moved = [n for n in now if n.endswith("_scale") and not np.array_equal(now[n], first[n])]
        assert len(moved) > 5, target
        held = np.concatenate([now[n].reshape(-1) for n in now if n.endswith("_scale")])
        if target == "dpu":
            assert (np.frexp(held)[0] == 0.5).all()
        if target == "coreml":
            np.testing.assert_array_equal(held, held.astype(np.float16).astype(np.float32))


def test_milestones_act_as_those_of_coremltools() -> None:
    """Milestone m acts in the step that has counted m, so that it is in force from the next batch
    on: the first batch always runs in float."""
    qat = prepared("ort", milestones=[0, 2, 3, 1])
    states = []
    for _ in range(5):
        states.append((qat.module.observes, qat.module.rounds))
        qat.step()
    assert states == [(False, False), (True, False), (True, False), (True, True), (False, True)]


def test_observers_follow_the_data_and_stop() -> None:
    qat = prepared("trt")
    first = qat.change().scales
    wide = torch.from_numpy(digits("eval", 8)) * 100
    qat.module(wide)
    assert qat.change().scales == first == 0
    qat.enable_observers()
    qat.module(wide)
    moved = qat.change().scales
    assert moved > 0
    name = next(s for s in qat.module._watched.values())
    before = qat.module.grid(name).scale.item()
    slow = constants(qat._written.model)[name].item()
    reach = float(wide.abs().max())
    assert before == pytest.approx(slow + 0.01 * (reach / 127 - slow), rel=1e-4)
    qat.module.eval()
    qat.module(wide)
    qat.module.train()
    qat.disable_observers()
    qat.module(wide)
    assert qat.module.grid(name).scale.item() == before


def test_fake_quantization_off_is_the_float_network_within_its_ranges() -> None:
    qat = prepared("coreml")
    x = torch.from_numpy(digits("calib", 32))
    with torch.no_grad():
        exact, rounded = qat.teacher(x), qat.module(x)
        qat.disable_fake_quant()
        smooth = qat.module(x)
    assert (smooth - exact).square().sum() < 0.5 * (rounded - exact).square().sum()


def test_a_weight_that_the_file_packs_is_refused() -> None:
    with pytest.raises(ModelError, match="is packed in blocks"):
        prepared("ort", settings={"weights": "int4"})


def test_weights_in_blocks_of_four_bits_are_trained() -> None:
    """TensorRT's int4 weights of linear layers: legal and nearer afterwards."""
    text = """net (float[n,256] x) => (float[n,8] y) {
        a = MatMul(x, w)
        b = Relu(a)
        y = MatMul(b, v)
    }"""
    model = small(text, {"w": normal(256, 128, seed=1) / 16, "v": normal(128, 8, seed=2) / 11})
    x = normal(2176, 256, seed=3)
    qat = oq.prepare_qat(
        model, "trt", {"x": x[128:192]}, settings={"weights": "int4"}, refine="none"
    )

    def error() -> float:
        made = qat.finish().model
        assert not [f for f in oq.check(made, "trt") if f.severity == "error"]
        exact, found = (run(m, {"x": x[:128]}, settings=LITERAL)["y"] for m in (model, made))
        return float(np.square(exact - found).sum())

    before = error()
    optimizer = torch.optim.Adam(qat.groups(1e-3))
    for i in range(64):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - i / 64)
        part = torch.from_numpy(x[128 + 32 * i : 160 + 32 * i])
        optimizer.zero_grad()
        (qat.module(part) - qat.teacher(part)).square().mean().backward()
        optimizer.step()
        qat.step()
    assert error() < before and qat.change().codes > 100


def test_a_resumed_run_is_the_uninterrupted_one_byte_for_byte(tmp_path: Path) -> None:
    """With an optimizer that keeps nothing itself."""

    def go(qat: Any, first: int, last: int) -> None:
        for i in range(first, last):
            x = torch.from_numpy(digits("calib")[16 * i : 16 * i + 16])
            qat.module.zero_grad()
            (qat.module(x) - qat.teacher(x)).square().mean().backward()
            torch.optim.SGD(qat.groups(1e-3, 1e-2)).step()
            qat.step()

    torch.set_num_threads(1)
    whole, part = (prepared("ort", scales="learned", milestones=[-1, 0, -1, 2]) for _ in "ab")
    go(whole, 0, 6)
    go(part, 0, 3)
    part.save(tmp_path / "state.safetensors")
    part.save(tmp_path / "again.safetensors")
    saved = (tmp_path / "state.safetensors").read_bytes()
    assert saved == (tmp_path / "again.safetensors").read_bytes()
    other = prepared("ort", scales="learned", milestones=[-1, 0, -1, 2])
    other.load(tmp_path / "state.safetensors")
    go(other, 3, 6)
    ends = [q.finish().model.graph.SerializeToString(deterministic=True) for q in (whole, other)]
    assert ends[0] == ends[1]


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    prepared("ort").save(tmp_path / "state.safetensors")
    with pytest.raises(DataError, match="the state of another run"):
        prepared("ort", RESIDUAL).load(tmp_path / "state.safetensors")
    (tmp_path / "odd").write_bytes(b"no state")
    with pytest.raises(DataError, match="no state of a training run"):
        prepared("ort").load(tmp_path / "odd")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scales": "free"}, "scales 'free': expected frozen or learned"),
        ({"milestones": [1, 2]}, "expected four step numbers"),
        ({"milestones": [0, 1, 2, -2]}, "expected four step numbers"),
    ],
)
def test_what_is_refused(options: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        prepared("ort", **options)


def test_the_form_of_integer_operators_is_not_trained() -> None:
    with pytest.raises(OptionError, match="Q/DQ are trained"):
        prepared("ort", format="qoperator")


def test_a_step_of_a_parameter_is_that_of_its_grid() -> None:
    """Of weights the scale in the file; of biases what int8 would have; of scales an octave or a
    tenth."""
    for target, wanted in (("dpu", 1.0), ("ort", 0.1)):
        qat = prepared(target, scales="learned")
        steps = {id(p): step for p, step in qat.steps()}
        assert len(steps) == len(list(qat.module.parameters()))
        weights = biases = scales = 0
        for slot in qat._trained.slots:
            if slot.learned is not None:
                scales += 1
                path = qat.module.names[slot.learned]
                assert steps[id(qat.module.get_parameter(path))] == wanted
            if slot.latent is None:
                continue
            parameter = qat.module.get_parameter(qat.module.names[slot.latent])
            if parameter.ndim == 1 and target == "ort":
                biases += 1
                wished = float(parameter.detach().abs().max()) / 127
            else:
                weights += 1
                wished = float(np.mean(constants(qat.model())[slot.place.scale]))
            assert steps[id(parameter)] == pytest.approx(wished)
        assert weights and scales and (biases or target == "dpu")
