"""Resizing against onnxruntime's Resize, and the examples of Apple's reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oq.artifacts.mlpackage.ops.resizing import points, resample, upsample_bilinear
from oq.errors import ModelError
from oq.numerics.values import Array
from tests.mil import Row, assert_rows, onnx_op

X = np.random.default_rng(0).normal(0, 1, (1, 2, 5, 6)).astype(np.float32)


def resized(height: int, width: int, **how: Any) -> Array:
    sizes = np.array([1, 2, height, width], np.int64)
    found: Array = onnx_op("Resize", X, None, None, sizes, **how)
    return found


@pytest.mark.parametrize(
    ("mode", "count", "expected"),
    [
        ("UNALIGN_CORNERS", 5, [0, 0.1, 0.5, 0.9, 1]),
        ("STRICT_ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
        ("ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
        ("ALIGN_CORNERS", 1, [0.5]),
        ("DEFAULT", 5, [0, 0.4, 0.8, 1, 1]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("DEFAULT", 6, [0, 1 / 3, 2 / 3, 1, 1, 1]),
    ],
)
def test_points_are_those_of_the_reference(mode: str, count: int, expected: list[float]) -> None:
    """Two inputs, as in the notes of ``resize_bilinear``."""
    np.testing.assert_allclose(points(mode, 2, count), expected)


def test_bilinear(tmp_path: Path) -> None:
    linear = {"mode": "linear"}
    half = resized(10, 12, coordinate_transformation_mode="half_pixel", **linear)
    corners = resized(10, 12, coordinate_transformation_mode="align_corners", **linear)
    plain = resized(8, 9, coordinate_transformation_mode="asymmetric", **linear)
    factor = {"scale_factor_height": 2, "scale_factor_width": 2}
    size = {"target_size_height": 8, "target_size_width": 9}
    rows = [
        Row("half", lambda mb, x: mb.upsample_bilinear(x=x, align_corners=False, **factor), half),
        Row(
            "corners",
            lambda mb, x: mb.upsample_bilinear(x=x, align_corners=True, **factor),
            corners,
        ),
        Row(
            "default", lambda mb, x: mb.resize_bilinear(x=x, sampling_mode="DEFAULT", **size), plain
        ),
        Row(
            "resize",
            lambda mb, x: mb.resize(
                x=x, shape=[10, 0], resized_dims=np.uint32(2), sampling_mode="UNALIGN_CORNERS"
            ),
            resized(10, 6, coordinate_transformation_mode="half_pixel", **linear),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_nearest_neighbours_and_crops(tmp_path: Path) -> None:
    floor = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    rows = [
        Row(
            "upsample",
            lambda mb, x: mb.upsample_nearest_neighbor(
                x=x, scale_factor_height=3, scale_factor_width=2
            ),
            resized(15, 12, **floor),
        ),
        Row(
            "resize to",
            lambda mb, x: mb.resize_nearest_neighbor(
                x=x, target_size_height=7, target_size_width=4
            ),
            resized(7, 4, **floor),
        ),
        Row(
            "resize",
            lambda mb, x: mb.resize(
                x=x,
                shape=[7, 4],
                resized_dims=np.uint32(2),
                interpolation_mode="NEAREST_NEIGHBOR",
            ),
            resized(7, 4, **floor),
        ),
        Row(
            "crop",
            lambda mb, x: mb.crop(x=x, crop_height=[1, 2], crop_width=[0, 3]),
            X[..., 1:3, 0:3],
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_resample(tmp_path: Path) -> None:
    """As GridSample, also outside the image."""
    grid = np.random.default_rng(1).uniform(-1.5, 1.5, (X.shape[0], 4, 3, 2)).astype(np.float32)
    rows = [
        Row(
            f"{mode} {outside} {corners}",
            lambda mb, x, mode=mode, own=own, corners=corners: mb.resample(
                x=x,
                coordinates=grid,
                sampling_mode=mode,
                padding_mode=own,
                padding_value=np.float32(0),
                coordinates_mode="normalized_minus_one_to_one",
                align_corners=corners,
            ),
            onnx_op(
                "GridSample",
                X,
                grid,
                mode=mode.removeprefix("bi"),
                padding_mode=outside,
                align_corners=corners,
            ),
        )
        for mode in ("bilinear", "nearest")
        for own, outside in (("constant", "zeros"), ("border", "border"))
        for corners in (False, True)
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_what_contradicts_is_refused() -> None:
    with pytest.raises(ModelError, match="'symmetric' outside, which oq does not read"):
        resample(X, X, "bilinear", "symmetric", 0.0, "normalized_minus_one_to_one", False)
    with pytest.raises(ModelError, match="coordinates 'unnormalized'"):
        resample(X, X, "bilinear", "constant", 0.0, "unnormalized", False)
    with pytest.raises(ModelError, match="align_corners and half_pixel_centers"):
        upsample_bilinear(X, 2, 2, align_corners=True, half_pixel_centers=True)
    with pytest.raises(ModelError, match="sampling mode 'CUBIC'"):
        points("CUBIC", 2, 4)
