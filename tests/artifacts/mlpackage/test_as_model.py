"""Image inputs take the values of the ONNX model in ``oq verify``, pixels otherwise."""

from pathlib import Path
from typing import Any

import numpy as np

from oq.artifacts.artifact import open_artifact
from oq.artifacts.mlpackage.package import open_file
from oq.numerics.values import Array
from tests.mil import ct, save_package

SCALE = np.array([0.017, 0.018, 0.019], np.float32).reshape(1, 3, 1, 1)
BIAS = np.array([-2.1, -2.0, -1.8], np.float32).reshape(1, 3, 1, 1)
IMAGE = ct.ImageType(name="x", shape=(1, 3, 4, 5))


def save(path: Path, *, scaled: bool) -> Path:
    def body(mb: Any, x: Any) -> Any:
        values = mb.add(x=mb.mul(x=x, y=SCALE), y=BIAS) if scaled else x
        return mb.square(x=values, name="y")

    return save_package(path, body, {"x": (1, 3, 4, 5)}, inputs=[IMAGE])


def pixels() -> Array:
    return np.random.default_rng(0).integers(0, 256, (1, 3, 4, 5)).astype(np.float32)


def test_values_go_in_as_the_pixels_that_become_them(tmp_path: Path) -> None:
    path = save(tmp_path / "m.mlpackage", scaled=True)
    values = pixels() * SCALE + BIAS
    (of_values,), (of_pixels,) = (
        open_artifact(path).run({"x": values}),
        open_file(path).run({"x": pixels()}),
    )
    np.testing.assert_allclose(of_values, np.square(values), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(of_pixels, np.square(values))
    assert open_file(path).contents().facts["images"] == "x (RGB)"


def test_without_scale_and_bias_the_values_are_the_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "m.mlpackage", scaled=False)
    (found,) = open_artifact(path).run({"x": pixels()})
    np.testing.assert_array_equal(found, np.square(pixels()))
