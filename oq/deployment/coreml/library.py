"""The only module that imports coremltools; it does not let it talk.

coremltools tells on import that it cannot run models here, and which versions of torch and
scikit-learn it has not been tested with; converting draws progress bars.  Users of oq can do
nothing about either.
"""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oq.errors import MissingExtra, ModelError
from oq.numerics.values import Array

PASSES = (
    "common::noop_elimination",
    "common::const_elimination",
    "common::sanitize_input_output_names",
    "common::divide_to_multiply",
    "common::add_conv_transpose_output_shape",
    "common::const_deduplication",
    "common::remove_symbolic_reshape",
    "common::noop_elimination",
    "common::expand_high_rank_reshape_and_transpose",
    "common::dedup_op_and_var_names",
    "common::add_fp16_cast",
    "common::update_output_dtypes",
    "common::const_elimination",
    "common::dead_code_elimination",
    "common::cast_optimization",
    "common::dead_code_elimination",
    "common::const_elimination",
    "common::const_deduplication",
    "common::dedup_op_and_var_names",
    "common::topological_reorder",
    "common::dead_code_elimination",
)
"""Passes of coremltools 9 that tidy up and make a program float16.

Left out is what moves or rescales pairs: ``int_op_canonicalization`` (a reshape between pairs is
done on codes, whatever their scales are), ``dequantize_quantize_pair_elimination``,
``distributive_quantized_binary_op_scale_normalization`` (divides the scales of sums by each other:
one more rounding in float16, and names are lost), ``reduce_transposes``; and fusions that the rows
do themselves.
"""

TARGETS = {17: "iOS17", 18: "iOS18"}


@dataclass(frozen=True, slots=True)
class Library:
    """What oq uses of coremltools: the package, its builder of operators ``mb`` and its MIL."""

    ct: Any
    mb: Any
    mil: Any


@contextmanager
def silence() -> Iterator[None]:
    """Suppress coremltools' log, warnings and progress bars."""
    log = logging.getLogger("coremltools")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def load_library() -> Library:
    """coremltools.

    Raises:
        MissingExtra: it is not installed.
    """
    with silence():
        try:
            import coremltools as ct
            from coremltools.converters.mil import mil
        except ImportError as error:
            raise MissingExtra("coreml", "oq deploy --to coreml", "coremltools") from error
    return Library(ct, mil.Builder, mil)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input of the program: ``shape`` by axes, a size or the name of a free axis; ``dtype``:
    float32, float16 or int32; ``image``: the colour layout of an image, "" for an array."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    image: str = ""


def symbols_of(library: Library, inputs: Sequence[InputSpec]) -> dict[str, Any]:
    """Free axis -> its symbol; those of one name are one."""
    names = dict.fromkeys(a for i in inputs for a in i.shape if isinstance(a, str))
    return {name: library.mil.get_new_symbol() for name in names}


@contextmanager
def function(library: Library, inputs: Sequence[InputSpec], ios: int) -> Iterator[Any]:
    """A MIL function with ``inputs`` that operators are added to inside the ``with``."""
    library.mb.name_count.clear()
    symbols = symbols_of(library, inputs)
    kinds = library.mil.types
    types = {"float32": kinds.fp32, "float16": kinds.fp16, "int32": kinds.int32}
    holders = {
        i.name: library.mb.placeholder(
            [symbols[a] if isinstance(a, str) else a for a in i.shape], types[i.dtype]
        )
        for i in inputs
    }
    with silence(), library.mil.Function(holders, opset_version=_target(library, ios)) as made:
        yield made


def convert(
    library: Library,
    made: Any,
    inputs: Sequence[InputSpec],
    limits: Mapping[str, int],
    *,
    ios: int,
    half: bool,
    labels: Sequence[str] = (),
) -> tuple[Any, Path | None, Any]:
    """The Core ML model of a function: its protobuf, the folder of its weights, and what keeps that
    folder alive.  ``limits``: free axis -> the largest size; ``half``: compute in float16."""
    ct, program = library.ct, library.mil.Program()
    program.add_function("main", made)
    precision = ct.precision.FLOAT16 if half else ct.precision.FLOAT32
    with silence(), _few_axes():
        model = ct.convert(
            program,
            source="milinternal",
            convert_to="mlprogram",
            inputs=[_input_type(ct, spec, limits) for spec in inputs],
            classifier_config=ct.ClassifierConfig(list(labels)) if labels else None,
            minimum_deployment_target=_target(library, ios),
            compute_precision=precision,
            skip_model_load=True,
            pass_pipeline=ct.PassPipeline(list(PASSES), "oq"),
        )
    folder = model.weights_dir
    return model.get_spec(), None if folder is None else Path(folder), model


@contextmanager
def _few_axes() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        found = FEW_AXES.search(str(error))
        if found is None:
            raise
        name, axes = found[1].removesuffix("_cast_fp16"), found[2]
        raise ModelError(
            f"--to coreml: tensor {name!r} has {axes} axes; programs take at most {MOST_AXES}"
        ) from error


MOST_AXES = 5
"""Of a tensor of a program."""

FEW_AXES = re.compile(r'Layer "([^"]*)", .* outputs a rank (\d+) tensor')
"""What coremltools says of a tensor of more axes."""


def _target(library: Library, ios: int) -> Any:
    return getattr(library.ct.target, TARGETS[ios])


def _input_type(ct: Any, spec: InputSpec, limits: Mapping[str, int]) -> Any:
    shape = [ct.RangeDim(1, limits[a]) if isinstance(a, str) else a for a in spec.shape]
    if spec.image:
        return ct.ImageType(name=spec.name, shape=shape, color_layout=spec.image)
    return ct.TensorType(name=spec.name, shape=shape)


def version(library: Library) -> str:
    """The version of coremltools."""
    return str(library.ct.__version__)


def narrow(library: Library, codes: Array, bits: int) -> Array:
    """``codes`` in coremltools' type of ``bits``: int4 for signed ones, uint1 to uint6 otherwise;
    8 bits are NumPy's own."""
    if bits == 8:
        return codes
    kind = ("int" if codes.dtype.kind == "i" else "uint") + str(bits)
    types = library.mil.types
    return codes.astype(types.nptype_from_builtin(types.string_to_builtin(kind)))
