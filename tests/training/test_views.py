"""Views of images: what they keep, and what a crop shows."""

import numpy as np
import pytest

from oq.numerics.values import TensorInfo

torch = pytest.importorskip("torch")

from oq.training.views import SMALLEST, VIEWS, image_inputs  # noqa: E402


def test_images_are_float_with_channels_in_front() -> None:
    shapes: dict[str, tuple[str, tuple[int | str, ...]]] = {
        "photo": ("float32", ("n", 3, 8, 8)),
        "grey": ("float32", (1, 1, "h", "w")),
        "map": ("float32", ("n", 64, 8, 8)),
        "text": ("int64", ("n", 3, 8, 8)),
        "sound": ("float32", ("n", 3, 80)),
    }
    inputs = [TensorInfo(name, dtype, shape) for name, (dtype, shape) in shapes.items()]
    assert image_inputs(inputs) == ("photo", "grey")


def test_flip_mirrors_about_every_other_image_and_nothing_else() -> None:
    images = torch.rand(64, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = VIEWS["flip"](images, np.random.default_rng(0))
    kinds = [
        "same" if torch.equal(a, b) else "mirrored" if torch.equal(a, b.flip(2)) else "other"
        for a, b in zip(found, images, strict=True)
    ]
    assert set(kinds) == {"same", "mirrored"} and 20 < kinds.count("mirrored") < 44
    assert VIEWS["none"](images, np.random.default_rng(0)) is images


def test_a_crop_is_a_part_of_the_image_of_the_size_that_is_said() -> None:
    """Of an image of its own coordinates: those that a view shows span a rectangle of it."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="xy")
    images = torch.stack([x, y, torch.zeros_like(x)]).expand(200, 3, 64, 64).contiguous()
    found = VIEWS["crop"](images, np.random.default_rng(1))
    assert found.shape == images.shape and found.abs().max() <= 1.0 + 1e-6
    assert not found[:, 2].any()
    spans = [(found[:, i].amax((1, 2)) - found[:, i].amin((1, 2))) / 2 for i in (0, 1)]
    area = spans[0] * spans[1]
    assert area.min() > 0.9 * SMALLEST and area.max() <= 1.0 and area.std() > 0.1
    mirrored = found[:, 0, 0, 0] > found[:, 0, 0, -1]
    assert 60 < int(mirrored.sum()) < 140
    again = VIEWS["crop"](images, np.random.default_rng(1))
    assert torch.equal(found, again)
