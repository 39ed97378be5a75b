"""Other views of the calibration images: what a teacher can label without an end.

A float model labels any image, so that a few hundred calibration images give as many different ones
as there are steps.  Only values change, never a shape.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from oq.numerics.values import TensorInfo

View = Callable[[Tensor, np.random.Generator], Tensor]
"""(images (sample, channel, height, width), where the random numbers come from) -> images."""

SMALLEST = 0.2
"""Least part of the area that a crop keeps."""

ASPECT = 4 / 3
"""Most by which a crop is stretched, one way or the other."""

CHANNELS = (1, 3, 4)
"""Channels of what is taken for images."""


def keep(images: Tensor, _random: np.random.Generator) -> Tensor:
    """The images, unchanged."""
    return images


def flip(images: Tensor, random: np.random.Generator) -> Tensor:
    """Every other image mirrored, left to right."""
    mirrored = torch.from_numpy(random.random(len(images)) < 0.5).to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def crop(images: Tensor, random: np.random.Generator) -> Tensor:
    """A part of each image, of :data:`SMALLEST` of its area or more, stretched to the whole size
    (bilinear), and mirrored every other time."""
    count = len(images)
    area = random.uniform(SMALLEST, 1, count)
    aspect = np.exp(random.uniform(-math.log(ASPECT), math.log(ASPECT), count))
    width, height = (np.minimum(np.sqrt(a), 1) for a in (area * aspect, area / aspect))
    across, down = (random.uniform(-1, 1, count) * (1 - size) for size in (width, height))
    places = np.zeros((count, 2, 3), np.float32)
    places[:, 0, 0] = width * np.where(random.random(count) < 0.5, -1, 1)
    places[:, 1, 1], places[:, 0, 2], places[:, 1, 2] = height, across, down
    grid = functional.affine_grid(
        torch.from_numpy(places).to(images), list(images.shape), align_corners=False
    )
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


VIEWS: Mapping[str, View] = {"none": keep, "flip": flip, "crop": crop}
"""Name -> what it does."""


def image_inputs(inputs: Sequence[TensorInfo]) -> tuple[str, ...]:
    """The inputs that are images: float, axes (sample, channel, height, width) with 1, 3 or 4
    channels."""
    return tuple(
        i.name
        for i in inputs
        if i.dtype == "float32" and i.shape and len(i.shape) == 4 and i.shape[1] in CHANNELS
    )
