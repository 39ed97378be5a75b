"""Decodes, resizes and crops images, and applies the equation of `preprocess`."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from oq.data.preprocess import Preprocess
from oq.errors import DataError, MissingExtra, one_line
from oq.numerics.values import Array

_MODES = frozenset({"1", "CMYK", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"})
"""Pillow's 8-bit modes; it would silently clip 16-bit and float images to white."""

IN_MEMORY = 64 * 10**6
"""Bytes of decoded images that are kept: 425 of 224 x 224 pixels."""


def is_gray(path: Path) -> bool:
    """Whether the header of an image says that it has one channel; False without one."""
    try:
        with _import_pillow().open(path) as image:
            return image.mode in {"1", "L", "LA"}
    except (OSError, ValueError, SyntaxError):
        return False


def decode(path: Path, options: Preprocess, where: str) -> Array:
    """The pixels of an image file; axes (h, w, 3) in RGB, or (h, w, 1) for gray, uint8.

    Raises:
        MissingExtra: Pillow is not installed.
        DataError: not an image, damaged, or of more than 8 bits per channel.
    """
    image_type = _import_pillow()
    try:
        with image_type.open(path) as image:
            if image.mode not in _MODES:
                raise DataError(
                    f"{where}: has pixels of mode {image.mode}; expected 8 bits per channel"
                )
            pixels = np.asarray(image.convert("L" if options.colour == "gray" else "RGB"))
    except (OSError, ValueError, SyntaxError, image_type.DecompressionBombError) as error:
        raise DataError(f"{where}: cannot be read as an image: {one_line(error)}") from error
    return pixels.reshape(*pixels.shape[:2], -1)


class DecodedImages:
    """Images at their final size, in uint8, decoded once for all passes over the data: the first
    that fit ``limit`` bytes, whatever is read after them.

    Decoding takes as long as a small network takes to run.
    """

    def __init__(self, limit: int = IN_MEMORY) -> None:
        self._room = limit
        self._kept: dict[str, Array] = {}

    def get(self, file: str, make: Callable[[], Array]) -> Array:
        """The pixels of ``file``, as ``make`` gives them the first time."""
        if (kept := self._kept.get(file)) is not None:
            return kept
        pixels = make()
        if pixels.nbytes <= self._room:
            self._room -= pixels.nbytes
            self._kept[file] = pixels
        return pixels


def transform(pixels: Array, options: Preprocess, where: str) -> Array:
    """The model's input for one image: (h, w, c) uint8 in RGB or gray, to (c, h, w) or (h, w, c).

    Raises:
        MissingExtra: the image must be resized or made gray and Pillow is not installed.
        DataError: the image is smaller than the crop, or gray where colour is expected.
    """
    return encode(fit(pixels, options, where), options)


def fit(pixels: Array, options: Preprocess, where: str) -> Array:
    """``pixels`` (h, w, c) at the size and with the channels that the model takes, still uint8.

    Raises:
        MissingExtra, DataError: see :func:`transform`.
    """
    if pixels.shape[2] != options.channels:
        if options.channels == 3:
            raise DataError(
                f"{where}: has {pixels.shape[2]} channels; expected 3 (or colour: gray)"
            )
        pixels = np.asarray(_import_pillow().fromarray(pixels).convert("L"))[:, :, None]
    if options.final != pixels.shape[:2]:
        pixels = _crop(_resize(pixels, options), options, where)
    return np.ascontiguousarray(pixels)


def encode(pixels: Array, options: Preprocess) -> Array:
    """The equation of ``options`` for each pixel (h, w, c), to (c, h, w) or (h, w, c)."""
    if options.colour == "bgr":
        pixels = pixels[:, :, ::-1]
    columns = _columns(options)
    planes = np.empty((options.channels, *pixels.shape[:2]), columns.dtype)
    for channel, column in enumerate(columns):
        np.take(column, pixels[:, :, channel], out=planes[channel], mode="clip")  # mode: no buffer
    return planes if options.layout == "nchw" else np.ascontiguousarray(planes.transpose(1, 2, 0))


@lru_cache(maxsize=4)
def _columns(options: Preprocess) -> Array:
    """Its table; axes (channel, pixel)."""
    return np.ascontiguousarray(options.table().T)


def _resize(pixels: Array, options: Preprocess) -> Array:
    """``pixels`` at the size ``resize`` asks for; parts of a pixel are cut, as torchvision does."""
    height, width = pixels.shape[:2]
    match options.resize:
        case None:
            return pixels
        case int(side):
            short = min(height, width)
            height, width = int(side * height / short), int(side * width / short)
        case (height, width):
            pass
    if (height, width) == pixels.shape[:2]:
        return pixels
    image_type = _import_pillow()
    image = image_type.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    filters = {
        "bilinear": image_type.Resampling.BILINEAR,
        "bicubic": image_type.Resampling.BICUBIC,
        "nearest": image_type.Resampling.NEAREST,
    }
    resized = np.asarray(image.resize((width, height), filters[options.interpolation]))
    return resized.reshape(height, width, -1)


def _crop(pixels: Array, options: Preprocess, where: str) -> Array:
    """The centre of ``pixels``; half a pixel is rounded as torchvision does."""
    if options.crop is None:
        return pixels
    height, width = options.crop
    above, left = pixels.shape[0] - height, pixels.shape[1] - width
    if above < 0 or left < 0:
        raise DataError(
            f"{where}: is {pixels.shape[0]} x {pixels.shape[1]} pixels where the crop is"
            f" {height} x {width}; expected at least that, or a 'resize' before it"
        )
    top, side = round(above / 2), round(left / 2)
    return pixels[top : top + height, side : side + width]


def transform_batch(images: Array, options: Preprocess, where: str) -> Array:
    """`transform` for each of (n, h, w, c) or (n, c, h, w) uint8 images.

    The axis of length 3, or else 1, is the channel axis; the last one if both are possible.
    """
    if images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    return np.stack([transform(np.ascontiguousarray(image), options, where) for image in images])


def _import_pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("images", "a folder of images", "pillow") from None
    return Image
