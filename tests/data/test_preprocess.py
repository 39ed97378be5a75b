"""Preprocessing: the equation to the bit, the geometry, every message."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from oq.data.preprocess import PRESETS, Preprocess, parse_preprocess, read_preprocess
from oq.data.source import open_source
from oq.data.sources.pixels import decode, transform, transform_batch
from oq.errors import DataError, MissingExtra, OptionError
from oq.numerics.values import Array, TensorInfo
from tests.real import IMAGENET, needs_real


def make_pixels(height: int, width: int, channels: int = 3) -> Array:
    """Random pixels; axes (h, w, c)."""
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, channels)).astype(np.uint8)


EQUATIONS: dict[str, tuple[Any, Any, Any]] = {
    "imagenet": (1 / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "imagenet-tf": (1 / 127.5, 1, 1),
    "unit": (1 / 255, 0, 1),
    "raw": (1, 0, 1),
}


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_preset_is_its_equation_rounded_once(preset: str) -> None:
    pixels = make_pixels(224, 224)
    scale, mean, std = EQUATIONS[preset]
    expected = (pixels.astype(np.float64) * scale - mean) / std
    found = transform(pixels, PRESETS[preset], "x")
    assert found.dtype == np.float32
    assert np.array_equal(found, expected.astype(np.float32).transpose(2, 0, 1))


def test_colour_order_takes_mean_in_that_order() -> None:
    pixels = make_pixels(4, 5)
    options = Preprocess(colour="bgr", mean=(1.0, 2.0, 3.0), layout="nhwc")
    expected = pixels[:, :, ::-1].astype(np.float32) - np.array([1, 2, 3], np.float32)
    assert np.array_equal(transform(pixels, options, "x"), expected)


def test_gray_is_pillows_luma() -> None:
    pixels = make_pixels(6, 7)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    found = transform(pixels, Preprocess(colour="gray", dtype="uint8"), "x")
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected[None])


@pytest.mark.parametrize(
    ("size", "between"),
    [((300, 400), (256, 341)), ((500, 281), (455, 256)), ((256, 300), (256, 300))],
)
def test_imagenet_resizes_the_shorter_side_and_crops_the_centre(
    size: tuple[int, int], between: tuple[int, int]
) -> None:
    pixels = make_pixels(*size)
    image = Image.fromarray(pixels).resize((between[1], between[0]), Image.Resampling.BILINEAR)
    top, left = round((between[0] - 224) / 2), round((between[1] - 224) / 2)
    cut = np.asarray(image)[top : top + 224, left : left + 224]
    expected = transform(cut, PRESETS["unit"], "x")
    options = parse_preprocess({"preset": "unit", "resize": 256, "crop": 224})
    assert np.array_equal(transform(pixels, options, "x"), expected)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
def test_exact_resize_with_each_interpolation(name: str) -> None:
    pixels = make_pixels(9, 12)
    options = parse_preprocess({"resize": [5, 7], "interpolation": name, "layout": "nhwc"})
    filters = {"nearest": 0, "bilinear": 2, "bicubic": 3}
    expected = np.asarray(Image.fromarray(pixels).resize((7, 5), Image.Resampling(filters[name])))
    assert np.array_equal(transform(pixels, options, "x"), expected.astype(np.float32))


def test_an_image_of_the_final_size_is_not_touched() -> None:
    pixels = make_pixels(224, 224)
    found = transform(pixels, PRESETS["imagenet-tf"], "x")
    assert np.array_equal(np.rint((found + 1) * 127.5).astype(np.uint8), pixels.transpose(2, 0, 1))


def test_float16_and_scalar_std() -> None:
    found = transform(make_pixels(2, 2), Preprocess(dtype="float16", std=2.0), "x")
    assert found.dtype == np.float16
    assert np.array_equal(found, (make_pixels(2, 2) / 2).astype(np.float16).transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 3, 4, 5), (2, 4, 5, 1), (2, 1, 4, 5)])
def test_arrays_of_images_in_either_layout(shape: tuple[int, ...]) -> None:
    images = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    last = images if shape[3] in (1, 3) else images.transpose(0, 2, 3, 1)
    colour = "gray" if last.shape[3] == 1 else "rgb"
    options = parse_preprocess({"preset": "unit", "layout": "nhwc", "colour": colour})
    found = transform_batch(images, options, "x")
    assert np.array_equal(found, (last.astype(np.float64) / 255).astype(np.float32))


def test_yaml_file(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "preset: imagenet\ncolour: bgr\nresize: none\ncrop: [8, 9]\nscale: 1/255\n"
        "mean: [0.1, 0.2, 1/4]\nstd: 0.5\nlayout: nhwc\ndtype: float16\ninterpolation: nearest\n"
    )
    assert read_preprocess(path) == Preprocess(
        colour="bgr",
        crop=(8, 9),
        interpolation="nearest",
        scale=1 / 255,
        mean=(0.1, 0.2, 0.25),
        std=0.5,
        layout="nhwc",
        dtype="float16",
    )


def test_presets_and_values_pass_through() -> None:
    assert read_preprocess("imagenet") is PRESETS["imagenet"]
    assert read_preprocess(PRESETS["raw"]) is PRESETS["raw"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hue": "rgb"}, r"unknown key 'hue'; allowed: colour, crop, .*, preset"),
        ({"preset": "tf"}, r"preset is 'tf'; allowed: imagenet, imagenet-tf, raw, unit"),
        ({"colour": "hsv"}, r"colour is 'hsv'; allowed: rgb, bgr, gray"),
        ({"interpolation": 3}, r"interpolation is '3'; allowed: bilinear, bicubic, nearest"),
        ({"layout": "chw"}, r"layout is 'chw'; allowed: nchw, nhwc"),
        ({"dtype": "int8"}, r"dtype is 'int8'; allowed: float32, float16, float64, uint8"),
        ({"scale": "a/b"}, r"scale is 'a/b'; expected a number, such as 0.5 or 1/255"),
        ({"scale": True}, r"scale is True; expected a number"),
        ({"mean": ["x"]}, r"mean is 'x'; expected a number"),
        ({"mean": [1, 2]}, r"mean has 2 values; expected one, or 3 for colour rgb"),
        ({"std": 0}, r"scale, mean and std must be finite, and std not 0"),
        ({"std": [1, 1, 0]}, r"scale, mean and std must be finite, and std not 0"),
        ({"resize": "big"}, r"resize is 'big'; expected the length of the shorter side"),
        ({"resize": [1, 2, 3]}, r"resize is \[1, 2, 3\]; expected the length"),
        ({"resize": True}, r"resize is True; expected the length"),
        ({"crop": "big"}, r"crop is 'big'; expected \[height, width\]"),
        ({"crop": 0}, r"resize and crop are in pixels; expected 1 or more"),
        ({"dtype": "uint8", "mean": 1}, r"dtype uint8 passes pixels as they are; expected scale 1"),
    ],
)
def test_each_wrong_value_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_preprocess(values)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'nope' is neither a preset \(imagenet.*\) nor a YAML"):
        read_preprocess("nope")
    path = tmp_path / "p.yaml"
    path.write_text("a: [1")
    with pytest.raises(OptionError, match=r"p.yaml cannot be read as YAML") as caught:
        read_preprocess(path)
    assert "\n" not in str(caught.value)
    path.write_text("- 1")
    with pytest.raises(OptionError, match=r"p.yaml holds list; expected keys"):
        read_preprocess(path)


def test_images_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"here: cannot be read as an image"):
        decode(path, PRESETS["raw"], "here")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)
    with pytest.raises(DataError, match=r"here: has pixels of mode I.*; expected 8 bits"):
        decode(path, PRESETS["raw"], "here")
    with pytest.raises(DataError, match=r"here: is 8 x 300 pixels where the crop is 224 x 224"):
        transform(make_pixels(8, 300), Preprocess(crop=(224, 224)), "here")
    with pytest.raises(DataError, match=r"here: has 1 channels; expected 3 \(or colour: gray\)"):
        transform(make_pixels(8, 8, 1), PRESETS["raw"], "here")


def test_a_cut_off_jpeg_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(make_pixels(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=r"here: cannot be read as an image"):
        decode(path, PRESETS["raw"], "here")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_other_modes_become_rgb_or_gray(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(make_pixels(6, 5)).convert(mode)
    path = tmp_path / "a.tiff"
    image.save(path)
    assert np.array_equal(decode(path, PRESETS["raw"], "x"), np.asarray(image.convert("RGB")))
    gray = decode(path, Preprocess(colour="gray"), "x")
    assert np.array_equal(gray, np.asarray(image.convert("L"))[:, :, None])


def test_gray_images_where_colour_is_expected_are_noted(tmp_path: Path) -> None:
    inputs = [TensorInfo("x", "float32", ("n", 3, 6, 5))]
    for at, mode in enumerate(("L", "RGB", "LA")):
        Image.fromarray(make_pixels(6, 5)).convert(mode).save(tmp_path / f"{at}.png")
    noted = ("2 of 3 images are gray: their one channel is repeated for RGB",)
    assert open_source(tmp_path, inputs, preprocess="unit").notes == noted
    for name in ("0.png", "2.png"):
        (tmp_path / name).unlink()
    assert open_source(tmp_path, inputs, preprocess="unit").notes == ()


def test_missing_pillow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"a folder of images needs pillow.*pip install pillow"):
        decode(tmp_path / "a.png", PRESETS["raw"], "x")
    # Arrays that need no resizing need no Pillow.
    transform(make_pixels(3, 3), PRESETS["unit"], "x")


@needs_real
def test_real_photographs_are_exact() -> None:
    inputs = [TensorInfo("input", "float32", ("n", 3, 224, 224))]
    root = IMAGENET / "eval"
    labels = IMAGENET / "eval_labels.csv"
    source = open_source(root, inputs, preprocess="imagenet-tf", labels=labels)
    rows = [line.split(",") for line in labels.read_text().split()[1:]]
    assert source.count == len(rows)
    at = 0
    for batch in source.batches(7, stop=40):
        assert batch.labels is not None
        for image, label in zip(batch.feeds["input"], batch.labels, strict=True):
            file, expected = rows[at]
            with Image.open(root / file) as opened:
                pixels = np.array(opened.convert("RGB"), dtype=np.float64)
            assert np.array_equal(image, (pixels / 127.5 - 1).astype(np.float32).transpose(2, 0, 1))
            assert label == int(expected)
            at += 1
    assert at == 40


def test_both_spellings_are_taken() -> None:
    assert parse_preprocess({"color": "grey"}) == parse_preprocess({"colour": "gray"})
