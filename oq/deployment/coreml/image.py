"""An input as an image: iOS hands pixels of 0 to 255, the program makes the model's values."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from oq.data.preprocess import Preprocess, read_preprocess
from oq.deployment.coreml.net import Net
from oq.errors import OptionError
from oq.numerics.values import TensorInfo

LAYOUTS = {"rgb": "RGB", "bgr": "BGR", "gray": "G"}
"""``colour`` of a preprocessing -> Core ML's colour layout."""


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The equation of a preprocessing, ``x = pixel * scale + bias`` per channel."""

    given: Preprocess

    @property
    def layout(self) -> str:
        """Core ML's colour layout."""
        return LAYOUTS[self.given.colour]

    def numbers(self) -> tuple[Any, Any]:
        """``scale`` and ``bias`` by channel, shaped (1, channel, 1, 1)."""
        std = np.broadcast_to(np.asarray(self.given.std, np.float64), (self.given.channels,))
        mean = np.broadcast_to(np.asarray(self.given.mean, np.float64), (self.given.channels,))
        shape = (1, self.given.channels, 1, 1)
        scale = (self.given.scale / std).reshape(shape)
        return scale.astype(np.float32), (-mean / std).reshape(shape).astype(np.float32)

    def shape(self, info: TensorInfo, shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
        """The shape of the image for the input ``info``: batch 1, channels before height.

        Raises:
            OptionError: the input has no such axes.
        """
        at = 1 if self.given.layout == "nchw" else 3
        if len(shape) != 4 or shape[at] not in {self.given.channels} or shape[0] not in {1}:
            if len(shape) == 4 and isinstance(shape[0], str) and shape[at] == self.given.channels:
                shape = (1, *shape[1:])
            else:
                axes = "x".join(map(str, shape))
                raise OptionError(
                    f"--image-input: input {info.name!r} is {axes}; an image in {self.given.colour}"
                    f" is 1x{self.given.channels}xHxW (--preprocess with layout nhwc: 1xHxWx"
                    f"{self.given.channels})"
                )
        return shape if at == 1 else (shape[0], shape[3], shape[1], shape[2])


@dataclass(frozen=True, slots=True)
class Pixels:
    """The operators between an image and the tensor ``name`` of ``net``."""

    net: Net
    name: str

    def to_values(self, x: Any, image: ImageInput) -> Any:
        """``x * scale + bias``, in the layout of the model."""
        scale, bias = image.numbers()
        if (scale != 1).any():
            x = self.net.step(f"{self.name}_scaled", "mul", x=x, y=scale)
        if bias.any():
            x = self.net.step(f"{self.name}_shifted", "add", x=x, y=bias)
        if image.given.layout == "nhwc":
            x = self.net.step(f"{self.name}_nhwc", "transpose", x=x, perm=[0, 2, 3, 1])
        return x


def image_input(asked: bool, preprocess: Any, inputs: int) -> ImageInput | None:
    """What ``--image-input`` and ``--preprocess`` ask for.

    Raises:
        OptionError: the first without the second, or a model of several inputs.
    """
    if not asked:
        return None
    if preprocess is None:
        raise OptionError(
            "--image-input needs --preprocess: raw, unit, imagenet or a YAML file, so that the"
            " program computes the model's values from pixels"
        )
    if inputs != 1:
        raise OptionError(f"--image-input: the model has {inputs} inputs; an image is its only one")
    return ImageInput(read_preprocess(preprocess))
