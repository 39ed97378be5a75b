"""Image preprocessing: ``x = (pixel * scale - mean) / std``.

A pixel is 0..255.  In order: decode, resize, crop, colour order, the equation, layout.  An image
that already has the final size (``crop``, or an exact ``resize`` without crop) is not resized or
cropped.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from oq.errors import OptionError, one_line
from oq.numerics.values import Array

CHOICES: dict[str, tuple[str, ...]] = {
    "colour": ("rgb", "bgr", "gray"),
    "interpolation": ("bilinear", "bicubic", "nearest"),
    "layout": ("nchw", "nhwc"),
    "dtype": ("float32", "float16", "float64", "uint8"),
}
"""The keys whose value is one of a fixed set."""

Size = tuple[int, int]
PerChannel = float | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How an image becomes ``x = (pixel * scale - mean) / std`` with axes by ``layout``.

    ``resize`` is the length of the shorter side, or an exact (height, width); ``crop`` is the
    (height, width) cut from the centre.  ``mean`` and ``std`` are in units of ``x * std``, that
    is after scaling, one value or one per channel in the order of ``colour``.

    Images are turned to 8-bit RGB (or gray); alpha is dropped, EXIF rotation is not applied.

    Raises:
        OptionError: a field has no such value.
    """

    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    resize: int | Size | None = None
    crop: Size | None = None
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    scale: float = 1.0
    mean: PerChannel = 0.0
    std: PerChannel = 1.0
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "float16", "float64", "uint8"] = "float32"

    def __post_init__(self) -> None:
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                raise OptionError(
                    f"preprocess: {key} is {getattr(self, key)!r}; allowed: {', '.join(allowed)}"
                )
        sizes = [self.resize] if isinstance(self.resize, int) else [*(self.resize or ())]
        if any(size < 1 for size in [*sizes, *(self.crop or ())]):
            raise OptionError("preprocess: resize and crop are in pixels; expected 1 or more")
        for key in ("mean", "std"):
            values = getattr(self, key)
            if isinstance(values, tuple) and len(values) != self.channels:
                raise OptionError(
                    f"preprocess: {key} has {len(values)} values; expected one, or"
                    f" {self.channels} for colour {self.colour}"
                )
        if not np.isfinite(self.table().astype(np.float64)).all():
            raise OptionError("preprocess: scale, mean and std must be finite, and std not 0")
        if self.dtype == "uint8" and (self.scale, self.mean, self.std) != (1.0, 0.0, 1.0):
            raise OptionError(
                "preprocess: dtype uint8 passes pixels as they are; expected scale 1, mean 0, std 1"
            )

    @property
    def channels(self) -> int:
        """3, or 1 for gray."""
        return 1 if self.colour == "gray" else 3

    @property
    def final(self) -> Size | None:
        """The final (height, width) of every image; None if it depends on the image."""
        exact = None if isinstance(self.resize, int) else self.resize
        return self.crop or exact

    def table(self) -> Array:
        """The equation for each of the 256 pixel values; axes (pixel, channel), of ``dtype``.

        Computed in double precision and rounded once.
        """
        pixel = np.arange(256, dtype=np.float64)[:, None]
        with np.errstate(all="ignore"):
            values = (pixel * self.scale - np.asarray(self.mean)) / np.asarray(self.std)
            return np.ascontiguousarray(
                np.broadcast_to(values, (256, self.channels)).astype(self.dtype)
            )


_TORCHVISION_MEAN = (0.485, 0.456, 0.406)
_TORCHVISION_STD = (0.229, 0.224, 0.225)

PRESETS: dict[str, Preprocess] = {
    "imagenet": Preprocess(
        resize=256, crop=(224, 224), scale=1 / 255, mean=_TORCHVISION_MEAN, std=_TORCHVISION_STD
    ),
    "imagenet-tf": Preprocess(resize=256, crop=(224, 224), scale=1 / 127.5, mean=1.0),
    "raw": Preprocess(),
    "unit": Preprocess(scale=1 / 255),
}
"""``imagenet`` is torchvision's evaluation transform; ``imagenet-tf`` maps pixels to -1..1.

Both leave an image of 224 x 224 as it is.  ``unit`` (0..1) and ``raw`` (0..255) keep the size.
"""


def list_presets() -> str:
    """The presets by name, for messages."""
    return ", ".join(PRESETS)


def read_preprocess(value: Preprocess | str | Path) -> Preprocess:
    """A `Preprocess`, given as such, as the name of a preset, or as a YAML file.

    The keys of the file are the fields of `Preprocess`, and ``preset`` for the defaults of the
    others. Numbers may be written as a quotient: ``scale: 1/255``.

    Raises:
        OptionError: no such preset or file, no YAML, or a key or value that does not exist.
    """
    if isinstance(value, Preprocess):
        return value
    if str(value) in PRESETS:
        return PRESETS[str(value)]
    path = Path(value)
    if not path.is_file():
        raise OptionError(
            f"preprocess: {str(value)!r} is neither a preset ({list_presets()}) nor a YAML file"
        )
    import yaml

    from oq.plain_yaml import read_yaml

    try:
        found = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(
            f"preprocess: {path.name} cannot be read as YAML: {one_line(error)}"
        ) from error
    if not isinstance(found, dict):
        raise OptionError(
            f"preprocess: {path.name} holds {type(found).__name__}; expected keys such as 'scale'"
        )
    return parse_preprocess(found)


def parse_preprocess(found: Mapping[Any, Any]) -> Preprocess:
    """A `Preprocess` from plain values, as read from YAML.

    >>> parse_preprocess({"preset": "unit", "resize": [32, 32]}).final
    (32, 32)

    Raises:
        OptionError: a key or value that does not exist.
    """
    fields = dict(found)
    preset = fields.pop("preset", "raw")
    if preset not in PRESETS:
        raise OptionError(f"preprocess: preset is {preset!r}; allowed: {list_presets()}")
    values: dict[str, Any] = {}
    for given, value in fields.items():
        key = SPELT.get(given, given)
        if key not in _READERS:
            raise OptionError(
                f"preprocess: unknown key {key!r}; allowed: {', '.join(sorted(_READERS))}, preset"
            )
        values[key] = _READERS[key](key, value)
    return dataclasses.replace(PRESETS[preset], **values)


SPELT: Mapping[Any, str] = {"color": "colour", "grey": "gray"}
"""American and British: both are taken."""


def _read_word(key: str, value: Any) -> str:
    # Whatever YAML made of it, `Preprocess` refuses it and lists the words allowed.
    return SPELT.get(str(value), str(value))


def _read_number(key: str, value: Any) -> float:
    """A number, or a quotient of two as text."""
    parts = value.split("/") if isinstance(value, str) else [value]
    try:
        if isinstance(value, bool) or len(parts) > 2:
            raise ValueError
        numbers = [float(part) for part in parts]
        return numbers[0] / numbers[1] if len(numbers) == 2 else numbers[0]
    except (TypeError, ValueError, ZeroDivisionError):
        raise OptionError(
            f"preprocess: {key} is {value!r}; expected a number, such as 0.5 or 1/255"
        ) from None


def _read_channels(key: str, value: Any) -> PerChannel:
    if isinstance(value, list):
        return tuple(_read_number(key, entry) for entry in value)
    return _read_number(key, value)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _read_pair(value: Any) -> Size | None:
    """A (height, width) from a list of two lengths; None for anything else."""
    if isinstance(value, list) and len(value) == 2 and all(map(_is_length, value)):
        return (value[0], value[1])
    return None


def _read_resize(key: str, value: Any) -> int | Size | None:
    if value is None or value == "none" or _is_length(value):
        return None if isinstance(value, str) else value
    if (pair := _read_pair(value)) is None:
        raise OptionError(
            f"preprocess: {key} is {value!r}; expected the length of the shorter side,"
            " [height, width], or none"
        )
    return pair


def _read_crop(key: str, value: Any) -> Size | None:
    if value is None or value == "none":
        return None
    pair = (value, value) if _is_length(value) else _read_pair(value)
    if pair is None:
        raise OptionError(
            f"preprocess: {key} is {value!r}; expected [height, width], one length for a square,"
            " or none"
        )
    return pair


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "colour": _read_word,
    "crop": _read_crop,
    "dtype": _read_word,
    "interpolation": _read_word,
    "layout": _read_word,
    "mean": _read_channels,
    "resize": _read_resize,
    "scale": _read_number,
    "std": _read_channels,
}
"""Key -> the function that parses its value."""
