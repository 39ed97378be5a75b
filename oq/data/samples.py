"""The samples of a run: opened, drawn, and split into those for calibration and for
verification."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from oq.data.source import Fitted, has_labels, open_source, random_source, split, subset
from oq.errors import DataError, ModelError, OptionError
from oq.model.proto_fields import feedable, inputs_of, read_type, without_defaults
from oq.numerics.values import TensorInfo

BATCH = 8
"""Default batch size."""


HELD_BACK = 8
"""Every eighth calibration sample is held out for verification."""


VERIFY_SAMPLES = 64


RANDOM = "random"
"""The name of the random source (``--data random``)."""


RANDOM_SAMPLES = 64


def open_samples(
    model: onnx.ModelProto,
    data: object,
    preprocess: str | Path | None,
    samples: int | None,
    seed: int,
    rename: Mapping[str, str] | None = None,
) -> Fitted:
    inputs = inputs_of(model)
    if not inputs:
        raise ModelError("the model has no inputs: it computes a constant")
    for what, values in (("input", inputs), ("output", map(read_type, model.graph.output))):
        for value in values:
            if value.dtype == "bfloat16":
                raise ModelError(
                    f"{what} {value.name!r} is bfloat16, which onnxruntime does not take from "
                    "Python; export the model with float32 inputs and outputs, bfloat16 inside"
                )
    if isinstance(data, str) and data == RANDOM:
        if rename:
            raise OptionError("--rename is for arrays that have names; random numbers have none")
        return random_source(inputs, samples or RANDOM_SAMPLES, seed)
    source = open_source(data, feedable(model), preprocess=preprocess, rename=rename)
    fed = _defaults(model, source)  # inputs like the others from here on
    source = replace(
        source,
        inputs=tuple(replace(i, optional=i.optional and i.name not in fed) for i in source.inputs),
    )
    return source if samples is None else subset(source, samples, seed)


def in_float32(source: Fitted, inputs: Collection[str]) -> Fitted:
    """``source`` with float32 values for ``inputs``, for the float32 form of a model."""
    types = (replace(i, dtype="float32") if i.name in inputs else i for i in source.inputs)
    return replace(source, inputs=tuple(types))


def feed_defaults(model: onnx.ModelProto, source: Fitted) -> onnx.ModelProto:
    """``model`` without the default values of the inputs that ``source`` feeds: they are inputs
    like the others then, and no constants."""
    return without_defaults(model, _defaults(model, source))


def _defaults(model: onnx.ModelProto, source: Fitted) -> frozenset[str]:
    known = {t.name for t in model.graph.initializer}
    return frozenset(i.name for i in source.inputs if i.name in known)


def divide(source: Fitted, seed: int, verify: bool) -> tuple[Fitted, Fitted | None]:
    """The samples for calibration, and those for verification (None: no verification)."""
    if not verify:
        return source, None
    try:
        rest, held = split(source, HELD_BACK)
    except DataError:  # one sample, one batch or one feed: none can be spared
        return source, source
    return rest, subset(held, VERIFY_SAMPLES, seed)


def open_judged(inputs: Sequence[TensorInfo], data: object, asked: Mapping[str, Any]) -> Fitted:
    """The samples to compare on, with labels where these are needed; ``asked`` are the keywords of
    ``oq.verify``."""
    read = {name: asked[name] for name in ("preprocess", "labels", "rename")}
    source = open_source(data, inputs, **read)
    if asked["samples"] is not None:
        source = subset(source, asked["samples"], asked["seed"])
    if asked["max_drop"] is not None and not asked["metrics"] and not has_labels(source):
        raise OptionError(
            f"{source.name} has no labels, which --max-drop needs: key 'labels' in an .npz "
            "(--rename labels=NAME for another), or --labels FILE.csv with a folder of images"
        )
    return source
