"""The description of a package: inputs and outputs as its users see them, and metadata."""

from typing import Any

from oq.artifacts.mlpackage.dtypes import ARRAY_DTYPES
from oq.artifacts.mlpackage.program import Description, Feature
from oq.errors import ModelError
from oq.numerics.values import Shape, TensorInfo

COLOR_SPACES = {10: "grayscale", 20: "RGB", 30: "BGR", 40: "grayscale float16"}
CHANNELS = {10: 1, 20: 3, 30: 3, 40: 1}


def read_description(model: Any) -> Description:
    """The description of the function that runs by default.

    Raises:
        ModelError: an input or output is neither array nor image, or the model keeps a state.
    """
    whole = model.description
    name = whole.defaultFunctionName or "main"
    function = next((f for f in whole.functions if f.name == name), whole)
    if function.state:
        raise ModelError(f"the package keeps a state ({function.state[0].name!r}); oq reads none")
    outputs = tuple(_feature(f) for f in function.output if _is_array(f))
    return Description(
        model.specificationVersion,
        tuple(_feature(f) for f in function.input),
        outputs,
        dict(whole.metadata.userDefined),
        tuple(f.name for f in function.output if not _is_array(f)),
    )


def _is_array(feature: Any) -> bool:
    """Whether it is a tensor or an image; the others are what ``classify`` gives."""
    return bool(feature.type.HasField("multiArrayType") or feature.type.HasField("imageType"))


def _feature(message: Any) -> Feature:
    kind = message.type
    if kind.HasField("imageType"):
        return _image(message.name, kind.imageType, kind.isOptional)
    if not kind.HasField("multiArrayType"):
        raise ModelError(f"{message.name!r} is neither an array nor an image")
    array = kind.multiArrayType
    if array.dataType not in ARRAY_DTYPES:
        raise ModelError(
            f"{message.name!r} has array type {array.dataType}, which oq does not read"
        )
    info = TensorInfo(message.name, ARRAY_DTYPES[array.dataType], _shape(array), kind.isOptional)
    return Feature(info)


def _shape(array: Any) -> Shape | None:
    """The sizes, None where they are flexible; None without any."""
    if array.HasField("shapeRange"):
        ranges = array.shapeRange.sizeRanges
        return tuple(r.lowerBound if r.lowerBound == r.upperBound else None for r in ranges)
    if array.HasField("enumeratedShapes"):
        columns = zip(*(s.shape for s in array.enumeratedShapes.shapes), strict=True)
        return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in columns)
    return tuple(array.shape) or None


def _image(name: str, image: Any, optional: bool) -> Feature:
    """An image is fed to the program as (1, channels, height, width) of values 0..255."""
    if image.colorSpace not in COLOR_SPACES:
        raise ModelError(f"{name!r} is an image of color space {image.colorSpace}")
    free = image.HasField("imageSizeRange") or image.HasField("enumeratedSizes")
    sides = (None, None) if free else (image.height, image.width)
    shape = (1, CHANNELS[image.colorSpace], *sides)
    return Feature(TensorInfo(name, "float32", shape, optional), COLOR_SPACES[image.colorSpace])
