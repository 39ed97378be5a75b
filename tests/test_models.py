"""The bundled models and data are what ``models.json`` and their licence file say."""

import io
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from models import digits
from models.digits import BUNDLED, EVAL_SAMPLES, SAMPLES, Split
from oq.numerics.values import Array

NAMES = ("residual", "separable", "transformer")
SUMMARY = json.loads((BUNDLED / "models.json").read_text(encoding="utf-8"))


def classify(name: str, images: Array) -> Array:
    """Logits ``(sample, 10)`` of a bundled model for ``images`` ``(sample, 1, 8, 8)``."""
    session = onnxruntime.InferenceSession(
        BUNDLED / f"{name}.onnx", providers=["CPUExecutionProvider"]
    )
    logits: Array = session.run(["logits"], {"input": images})[0]
    return logits


@pytest.mark.parametrize("name", NAMES)
def test_file_is_small_whole_and_of_any_batch(name: str) -> None:
    path = BUNDLED / f"{name}.onnx"
    assert path.stat().st_size < 1_000_000
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path, load_external_data=False)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    for value, rest in ((model.graph.input[0], [1, 8, 8]), (model.graph.output[0], [10])):
        batch, *sizes = value.type.tensor_type.shape.dim
        assert batch.dim_param == "batch"
        assert [axis.dim_value for axis in sizes] == rest
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["logits"]


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_the_stated_one(name: str) -> None:
    images, labels = digits.load("eval")
    found = (classify(name, images).argmax(axis=1) == labels).mean()
    # Another processor may round a near tie the other way: one sample.
    assert found == pytest.approx(SUMMARY["models"][name]["accuracy"], abs=1.5 / EVAL_SAMPLES)
    assert found > 0.97


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_classified_alike_in_every_batch(name: str) -> None:
    images, _ = digits.load("eval")
    together = classify(name, images[:7])
    alone = np.concatenate([classify(name, image[None]) for image in images[:7]])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_files_carry_the_structures_they_are_there_for() -> None:
    ops = {
        name: [node.op_type for node in onnx.load(BUNDLED / f"{name}.onnx").graph.node]
        for name in NAMES
    }
    assert ops["residual"].count("Add") == 3
    assert ops["separable"].count("BatchNormalization") == ops["separable"].count("Conv") == 9
    assert ops["separable"].count("Clip") == 9
    assert {"MatMul", "Softmax", "LayerNormalization", "Gelu"} <= set(ops["transformer"])


def test_the_split_is_disjoint_and_whole() -> None:
    calib, calib_labels = digits.load("calib")
    held_out, eval_labels = digits.load("eval")
    assert len(calib) + len(held_out) == SAMPLES
    assert len(held_out) == EVAL_SAMPLES
    assert len({image.tobytes() for image in (*calib, *held_out)}) == SAMPLES
    for images, labels in ((calib, calib_labels), (held_out, eval_labels)):
        assert images.shape == (len(labels), 1, 8, 8)
        assert (images.dtype.name, labels.dtype.name) == ("float32", "int64")
        assert images.min() == 0
        assert images.max() == 1
        assert set(labels) == set(range(10))


@pytest.mark.parametrize("name", ["calib", "eval"])
def test_the_data_is_scikit_learns(name: Split) -> None:
    source = pytest.importorskip("sklearn.datasets").load_digits()
    expected = digits.split(source.images, source.target)[name]
    images, labels = digits.load(name)
    np.testing.assert_array_equal(images, expected["input"])
    np.testing.assert_array_equal(labels, expected["labels"])


def test_npz_bytes_do_not_depend_on_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays: dict[str, Array] = {"input": np.arange(6.0).reshape(2, 3), "labels": np.arange(2)}
    digits.write_npz(tmp_path / "a.npz", arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    digits.write_npz(tmp_path / "b.npz", arrays)
    content = (tmp_path / "a.npz").read_bytes()
    assert content == (tmp_path / "b.npz").read_bytes()
    with np.load(io.BytesIO(content)) as archive:
        np.testing.assert_array_equal(archive["input"], arrays["input"])


def test_a_factory_follows_its_seed_and_nothing_else() -> None:
    torch = pytest.importorskip("torch")
    from models.residual import make

    state = torch.random.get_rng_state()
    same, again, other = (make(seed).state_dict()["head.weight"] for seed in (0, 0, 1))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_as_stated(name: str) -> None:
    pytest.importorskip("torch")
    from models.train import RECIPES

    count = sum(parameter.numel() for parameter in RECIPES[name].make(0).parameters())
    assert count == SUMMARY["models"][name]["parameters"]


def test_shifts_move_an_image_by_at_most_one_pixel() -> None:
    torch = pytest.importorskip("torch")
    from models.train import shifted

    images = torch.zeros(200, 1, 8, 8)
    images[:, :, 3, 4] = 1
    still = shifted(images, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(still, images)
    moved = shifted(images, 1.0, torch.Generator().manual_seed(0))
    assert set(moved[:, 0].flatten(1).argmax(1).tolist()) == {
        8 * row + column for row in (2, 3, 4) for column in (3, 4, 5)
    }
    # What leaves one edge does not come back at the other.
    edge = torch.zeros(50, 1, 8, 8)
    edge[:, :, 0, 0] = 1
    assert shifted(edge, 1.0, torch.Generator().manual_seed(0))[:, :, 2:, 2:].sum() == 0


@pytest.mark.parametrize(
    ("name", "epochs"),
    [("residual", 5), ("separable", 6), pytest.param("transformer", 20, marks=pytest.mark.slow)],
)
def test_training_learns_and_repeats(name: str, epochs: int) -> None:
    torch = pytest.importorskip("torch")
    from models.train import RECIPES, train

    recipe = replace(RECIPES[name], epochs=epochs)
    images, labels = (torch.from_numpy(part[:640]) for part in digits.load("calib"))
    one_epoch = replace(recipe, epochs=1)
    first, second = (train(one_epoch, images, labels) for _ in range(2))
    for (key, one), two in zip(
        first.state_dict().items(), second.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), key
    learned = train(recipe, images, labels)
    with torch.no_grad():
        right = (learned(images).argmax(1) == labels).float().mean()
    assert right > 0.6
