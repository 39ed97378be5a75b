"""The keywords of the Python API, for type checkers and editors, each with its row of the table."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, TypeVar, cast

from oq.options.deploy_rows import (
    CLASSES,
    FIXED,
    IMAGE_INPUT,
    IOS,
    MAX_SHAPE,
    MIN_SHAPE,
    OPERATORS,
    OPT_SHAPE,
    PIXELS,
    PLATFORM,
    PRECISION,
    PROOF_DATA,
    PROOF_SAMPLES,
    WEIGHTS_ONLY,
)
from oq.options.rows import (
    AUGMENT,
    BATCH_SIZE,
    CACHE,
    CALIBRATOR,
    CALIBRATOR_FOR,
    ENGINE,
    EPOCHS,
    EVAL_DATA,
    EXAMPLE_INPUTS,
    FORM,
    HOW_FAR,
    KEEP_FLOAT,
    LABELS,
    LATENCY,
    LAYER,
    LIMIT,
    LOSS,
    MAX_MEMORY,
    METRIC,
    METRICS,
    MINUTES,
    PER_LAYER,
    PREPROCESS,
    PROVIDER,
    RANGES,
    RANKING,
    RATE,
    RAY,
    REFINE,
    RENAME,
    REPORT,
    RUN_AS,
    SAMPLES,
    SCALES,
    SEED,
    SETTINGS,
    SHAPE,
    SHARD,
    TIME_LIMIT,
    TRAIN_BATCH,
    VERIFY,
    VERIFY_BATCH,
    WATCH,
    WEIGHTS,
    Option,
)
from oq.parallel import Workers
from oq.progress import Watch

if TYPE_CHECKING:
    from oq.planning.overrides import Choice, Layer, Mode

EngineName = Literal["dpu", "onnxruntime", "openvino"]
WeightRange = Literal["max", "mse"]
Form = Literal["qdq", "qoperator"]


class QuantizeOptions(TypedDict, total=False):
    """The keywords of :func:`oq.quantize`."""

    example_inputs: Annotated[object, EXAMPLE_INPUTS]
    shape: Annotated[Mapping[str, Sequence[int | None]] | None, SHAPE]
    rename: Annotated[Mapping[str, str] | None, RENAME]
    preprocess: Annotated[str | Path | None, PREPROCESS]
    samples: Annotated[int | None, SAMPLES]
    seed: Annotated[int, SEED]
    batch_size: Annotated[int | None, BATCH_SIZE]
    calibrator: Annotated[str | None, CALIBRATOR]
    settings: Annotated[Mapping[str, Any] | None, SETTINGS]
    calibrator_for: Annotated["Sequence[Choice]", CALIBRATOR_FOR]
    weights: Annotated[WeightRange | None, WEIGHTS]
    keep_float: Annotated[Sequence[str], KEEP_FLOAT]
    mode: Annotated["Mode", HOW_FAR]
    layers: Annotated["Sequence[Layer]", LAYER]
    ranges: Annotated[str | Path | None, RANGES]
    cache: Annotated[str | Path | None, CACHE]
    refine: Annotated[str | Sequence[str] | None, REFINE]
    max_memory: Annotated[int | None, MAX_MEMORY]
    provider: Annotated[str, PROVIDER]
    format: Annotated[Form, FORM]
    verify: Annotated[bool, VERIFY]
    report: Annotated[str | Path | None, REPORT]
    ranking: Annotated[str | Path | None, RANKING]
    ray: Annotated["str | Workers | None", RAY]
    watch: Annotated[Watch | None, WATCH]


class SearchOptions(QuantizeOptions, total=False):
    """The keywords of :func:`oq.search` beside ``max_drop``."""

    metric: Annotated[str | None, METRIC]
    eval_data: Annotated[object, EVAL_DATA]
    labels: Annotated[str | Path | None, LABELS]
    time_limit: Annotated[float | None, TIME_LIMIT]


class FinetuneOptions(QuantizeOptions, total=False):
    """The keywords of :func:`oq.finetune` beside ``state``."""

    labels: Annotated[Path | None, LABELS]
    epochs: Annotated[int | None, EPOCHS]
    minutes: Annotated[float | None, MINUTES]
    train_batch: Annotated[int, TRAIN_BATCH]
    lr: Annotated[float | None, RATE]
    loss: Annotated[str | None, LOSS]
    augment: Annotated[str, AUGMENT]
    scales: Annotated[str, SCALES]


class VerifyOptions(TypedDict, total=False):
    """The keywords of :func:`oq.verify`."""

    samples: Annotated[int | None, SAMPLES]
    batch_size: Annotated[int, VERIFY_BATCH]
    rename: Annotated[Mapping[str, str] | None, RENAME]
    preprocess: Annotated[str | Path | None, PREPROCESS]
    labels: Annotated[str | Path | None, LABELS]
    metrics: Annotated[Sequence[str], METRICS]
    per_layer: Annotated[bool, PER_LAYER]
    max_memory: Annotated[int | None, MAX_MEMORY]
    provider: Annotated[str, PROVIDER]
    engine: Annotated[EngineName | None, ENGINE]
    target: Annotated[str | None, RUN_AS]
    latency: Annotated[bool | None, LATENCY]
    max_drop: Annotated[float | None, LIMIT]
    report: Annotated[str | Path | None, REPORT]
    ranking: Annotated[str | Path | None, RANKING]
    ray: Annotated["str | Workers | None", RAY]
    seed: Annotated[int, SEED]
    watch: Annotated[Watch | None, WATCH]


class CalibrateOptions(TypedDict, total=False):
    """The keywords of :func:`oq.calibrate`."""

    samples: Annotated[int | None, SAMPLES]
    batch_size: Annotated[int | None, BATCH_SIZE]
    rename: Annotated[Mapping[str, str] | None, RENAME]
    preprocess: Annotated[str | Path | None, PREPROCESS]
    shape: Annotated[Mapping[str, Sequence[int | None]] | None, SHAPE]
    keep_float: Annotated[Sequence[str], KEEP_FLOAT]
    settings: Annotated[Mapping[str, Any] | None, SETTINGS]
    max_memory: Annotated[int | None, MAX_MEMORY]
    provider: Annotated[str, PROVIDER]
    shard: Annotated[str | None, SHARD]
    ray: Annotated["str | Workers | None", RAY]
    seed: Annotated[int, SEED]
    watch: Annotated[Watch | None, WATCH]


class DeployOptions(TypedDict, total=False):
    """The keywords of :func:`oq.deploy`; those of one format are refused by the others."""

    data: Annotated[object, PROOF_DATA]
    samples: Annotated[int | None, PROOF_SAMPLES]
    min_shape: Annotated[Mapping[str, Sequence[int | None]] | None, MIN_SHAPE]
    opt_shape: Annotated[Mapping[str, Sequence[int | None]] | None, OPT_SHAPE]
    max_shape: Annotated[Mapping[str, Sequence[int | None]] | None, MAX_SHAPE]
    seed: Annotated[int, SEED]
    shape: Annotated[Mapping[str, Sequence[int | None]] | None, FIXED]
    operators: Annotated[str, OPERATORS]
    platform: Annotated[str, PLATFORM]
    watch: Annotated[Watch | None, WATCH]
    ios: Annotated[int, IOS]
    precision: Annotated[str, PRECISION]
    weights_only: Annotated[str | None, WEIGHTS_ONLY]
    image_input: Annotated[bool, IMAGE_INPUT]
    rename: Annotated[Mapping[str, str] | None, RENAME]
    preprocess: Annotated[str | Path | None, PIXELS]
    labels: Annotated[str | Path | None, CLASSES]


def options_of(schema: type) -> dict[str, Option]:
    """The options of a class of keywords by name, in its order."""
    return {name: hint.__metadata__[0] for name, hint in schema.__annotations__.items()}


Schema = TypeVar("Schema")
Function = TypeVar("Function", bound=Callable[..., Any])


def complete(schema: type[Schema], given: Mapping[str, Any]) -> Schema:
    """``given`` keywords with the defaults of the others.

    Raises:
        TypeError: a keyword that ``schema`` has not.
    """
    known = options_of(schema)
    for name in given:
        if name not in known:
            raise TypeError(f"unexpected keyword argument {name!r}; available: {', '.join(known)}")
    filled = {name: given.get(name, option.default) for name, option in known.items()}
    return cast("Schema", filled)


def documented(schema: type) -> Callable[[Function], Function]:
    """A decorator: the ``**options`` of a function are the keywords of ``schema``, in its signature
    and its docstring.  The union :data:`oq.data.source.Data` is shown by its name."""

    def document(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        plain = [p.replace(annotation="Data") if p.name == "data" else p for p in own]
        known = options_of(schema)
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option.default)
            for name, option in known.items()
        ]
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*plain, *more]
        )
        lines = (f"        {name}: {option.once}." for name, option in known.items())
        told = "\n".join(("\n\n    Keywords:", *lines))
        function.__doc__ = (function.__doc__ or "").rstrip() + told + "\n"
        return function

    return document
