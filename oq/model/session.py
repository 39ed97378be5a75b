"""Runs models: the only module that imports onnxruntime.

A Q/DQ graph can be evaluated in two modes:

* **deployed**: with onnxruntime's default optimizations, which fuse Q/DQ groups into integer
  kernels;
* **literal**: without graph optimizations, so that every QuantizeLinear and DequantizeLinear
  computes what the ONNX specification says.  Other targets implement this.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort

from oq.errors import DataError, ModelError, OptionError, runtime_message
from oq.model.bodies import nodes_in
from oq.model.carry_out import carry_out
from oq.model.files import loadable
from oq.model.noise import freeze_noise
from oq.model.optimizer_faults import (
    BIASES,
    BOUND_RUN,
    KEEP_INT8,
    LOST_OUTPUT,
    MIXED_INT8,
    NO_ARRAY,
    has_float8,
    has_float16_scales,
)
from oq.model.providers import check_started, choose_providers
from oq.model.stored import holds_stored, is_stored, place_of, put_place, values_of, with_values
from oq.numerics.values import Array, Shape, TensorInfo
from oq.parallel import parallel_map

Reading = Literal["deployed", "literal"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Session settings.

    ``threads`` 0 lets onnxruntime choose.  ``spin`` False keeps idle threads from spinning, which
    is necessary to compare two sessions in one process fairly.  ``reserve`` True, onnxruntime's own
    default, holds the memory that one run has taken once more for the next, in one piece.
    ``frozen``: random operators draw the same in every run (:mod:`oq.model.noise`).
    ``packed`` False does not copy all weights into the order that kernels read, for a single run.
    ``reuse`` False gives every tensor memory of its own, whatever the declared shapes say.
    """

    reading: Reading = "deployed"
    provider: str = "cpu"
    threads: int = 0
    spin: bool = True
    reserve: bool = False
    frozen: bool = True
    packed: bool = True
    reuse: bool = True


SERIAL = Settings(reading="literal", threads=1)
"""The literal mode on one thread: for parallel runs, with the same sums on any machine."""

SPINS, UNPACKED = "session.intra_op.allow_spinning", "session.disable_prepacking"

EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
"""The session entry with the folder of external data, for a model that is given as bytes."""

_custom_ops: list[str] = []
"""Libraries of custom operators that every session of this process registers."""


def use_custom_ops(paths: Sequence[Path]) -> None:
    """Register the custom operator libraries at ``paths`` in every session.

    Raises:
        OptionError: there is no such file.
    """
    for path in paths:
        if not path.is_file():
            raise OptionError(f"--custom-ops {str(path)!r}: no such library")
        if str(path.resolve()) not in _custom_ops:
            _custom_ops.append(str(path.resolve()))


def custom_ops() -> tuple[Path, ...]:
    """The registered libraries, for another process that loads the same models."""
    return tuple(Path(path) for path in _custom_ops)


class Session:
    """A model loaded in onnxruntime.

    Raises:
        ModelError: onnxruntime cannot load the model.
        OptionError: the provider is not built into this onnxruntime.
    """

    def __init__(
        self,
        model: onnx.ModelProto | Path,
        settings: Settings | None = None,
        *,
        dump: Path | None = None,
        trace: Path | None = None,
    ) -> None:
        settings = Settings() if settings is None else settings
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = settings.threads
        if settings.reading == "literal":
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            # nodes as they stand in the file: else all weights are dequantized before any is used
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        elif has_float8(model):
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry(SPINS, str(int(settings.spin)))
        options.add_session_config_entry(UNPACKED, str(int(not settings.packed)))
        options.enable_mem_pattern, options.enable_mem_reuse = settings.reserve, settings.reuse
        if dump is not None:
            options.optimized_model_filepath = str(dump)
        if trace is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(trace)
        without = [BIASES] if has_float16_scales(model) else []
        for library in _custom_ops:
            with _as_model_error():
                options.register_custom_ops_library(library)
        wanted = choose_providers(settings.provider, providers())
        if settings.frozen and dump is None and isinstance(model, onnx.ModelProto):
            model = freeze_noise(model)
        with _placed(model, options) as (source, self._mapped):
            try:
                self._session = _load(source, options, wanted, without)
            except ModelError as error:
                if not _mend(options, str(error)):
                    raise
                self._session = _load(source, options, wanted, without)
        check_started(settings.provider, self._session.get_providers())
        kinds = {i.name: i.dtype for i in self.inputs}
        self._narrow = {n: d for n, d in kinds.items() if d in {"float16", "float64"}}

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Name, NumPy dtype and shape of every input."""
        return tuple(_info(i) for i in self._session.get_inputs())

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Name, NumPy dtype and shape of every output, as onnxruntime inferred them."""
        return tuple(_info(o) for o in self._session.get_outputs())

    @property
    def arrays(self) -> list[str]:
        """The outputs that are arrays of numbers: no sequences, no strings."""
        return [o.name for o in self.outputs if o.dtype is not None and o.dtype != "str"]

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs (all if ``outputs`` is None) for one batch.

        Raises:
            DataError: the model fails on this batch.
        """
        if outputs is not None and not outputs:  # onnxruntime refuses to run for nothing
            return []
        with _as_data_error(feeds):
            values: list[Array] = self._session.run(outputs, self._fitting(feeds))
        return values

    def run_on(
        self, device: str, feeds: Mapping[str, Array], outputs: Sequence[str]
    ) -> dict[str, Any]:
        """The ``outputs`` for one batch as values that stay on ``device``: ``shape()``, and
        ``numpy()``, which copies them to the host.

        Raises:
            DataError: the model fails on this batch.
        """
        with _as_data_error(feeds):
            binding = self._session.io_binding()
            for name, values in self._fitting(feeds).items():
                binding.bind_cpu_input(name, np.ascontiguousarray(values).reshape(values.shape))
            for name in outputs:
                binding.bind_output(name, device)
            self._session.run_with_iobinding(binding)
            return dict(zip(outputs, binding.get_outputs(), strict=True))

    def end_trace(self) -> Path:
        """Stop profiling; the file that tells what has run."""
        return Path(self._session.end_profiling())

    def _fitting(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """``feeds``, with float32 values in the type that the model reads: samples are float32 for
        the float32 form that oq computes with, and the model they belong to may be float16."""
        return {
            name: values.astype(self._narrow[name])
            if name in self._narrow and values.dtype == np.float32
            else values
            for name, values in feeds.items()
        }

    def run_all(
        self,
        batches: Iterable[Mapping[str, Array]],
        outputs: Sequence[str],
        at_once: int | None = None,
    ) -> list[list[Array]]:
        """The ``outputs`` for every batch, with batches distributed over the cores, ``at_once`` at
        a time: for a session with one thread.

        Raises:
            DataError: the model fails on a batch.
        """
        return parallel_map(lambda feeds: self.run(feeds, outputs), batches, at_once)


def run(
    model: onnx.ModelProto | Path,
    feeds: Mapping[str, Array],
    outputs: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> dict[str, Array]:
    """Run ``model`` once; output name -> values."""
    session = Session(model, settings)
    names = [o.name for o in session.outputs] if outputs is None else list(outputs)
    return dict(zip(names, session.run(feeds, names), strict=True))


def expose(model: onnx.ModelProto, tensors: Sequence[str], count: bool = False) -> onnx.ModelProto:
    """A copy of ``model`` whose outputs are exactly ``tensors``; onnxruntime infers their types.

    Graph inputs and initializers cannot be outputs.  ``loop/body/x`` is tensor x in that body of
    node ``loop``, with ``count`` how many values it has in each turn (:mod:`oq.model.carry_out`).
    """
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    made = {t for node in model.graph.node for t in node.output}
    carry_out(exposed, [name for name in tensors if name not in made], count=count)
    known = {v.name: v for v in (*model.graph.value_info, *model.graph.output)}
    del exposed.graph.output[:]
    for name in tensors:
        exposed.graph.output.append(known.get(name, onnx.ValueInfoProto(name=name)))
    return exposed


def infer(model: onnx.ModelProto, tensors: Sequence[str]) -> dict[str, TensorInfo]:
    """Types of intermediate ``tensors`` as inferred by onnxruntime, if ONNX cannot."""
    session = Session(expose(model, tensors), Settings("literal", packed=False))
    return {info.name: info for info in session.outputs}


def optimized_ops(model: onnx.ModelProto, settings: Settings | None = None) -> Counter[str]:
    """The number of nodes per op in onnxruntime's optimized graph, including bodies of If and
    Loop."""
    with tempfile.TemporaryDirectory(prefix="oq-") as folder:
        dump = Path(folder) / "optimized.onnx"
        Session(model, settings, dump=dump)
        graph = onnx.load(dump, load_external_data=False).graph
    return Counter(node.op_type for node in nodes_in(graph))


@contextmanager
def silence_onnxruntime() -> Iterator[None]:
    """Suppress onnxruntime's log on standard error, for libraries that open sessions."""
    ort.set_default_logger_severity(4)
    try:
        yield
    finally:
        ort.set_default_logger_severity(2)  # onnxruntime's default: warnings


def version() -> str:
    """The version of onnxruntime."""
    return str(ort.__version__)


def providers() -> tuple[str, ...]:
    """The execution providers of this onnxruntime, in its order."""
    return tuple(ort.get_available_providers())


def check_provider(name: str) -> None:
    """Check that the provider called ``name`` is built in, before the work.

    Raises:
        OptionError: it is not.
    """
    choose_providers(name, providers())


@contextmanager
def _placed(
    model: onnx.ModelProto | Path, options: ort.SessionOptions
) -> Iterator[tuple[bytes | str, Mapping[str, ort.OrtValue]]]:
    """``model`` as onnxruntime loads it, and values to hold as long as the session.  Weights in
    files stay there: it reads those of one folder itself, the one with most of them, as it takes no
    path out of it; the others are mapped."""
    if isinstance(model, Path) or not holds_stored(model):
        with loadable(model) as source:
            yield source, {}
        return
    light = onnx.ModelProto()
    light.CopyFrom(model)
    apart = [t for t in light.graph.initializer if is_stored(t)]
    sizes: Counter[Path] = Counter()
    for tensor in apart:
        sizes[place_of(tensor).path.parent] += place_of(tensor).size
    folder = sizes.most_common(1)[0][0]
    options.add_session_config_entry(EXTERNAL_FOLDER, str(folder))
    given: dict[str, ort.OrtValue] = {}
    for tensor in apart:
        place = place_of(tensor)
        if place.path.parent == folder:
            put_place(tensor, replace(place, path=Path(place.path.name)))
        elif onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).isbuiltin:
            given[tensor.name] = ort.OrtValue.ortvalue_from_numpy(values_of(tensor))
        else:
            tensor.CopyFrom(with_values(tensor))
    if given:
        options.add_external_initializers(list(given), list(given.values()))
    yield light.SerializeToString(), given


def _load(
    source: str | bytes, options: ort.SessionOptions, providers: list[str], without: list[str]
) -> ort.InferenceSession:
    """Without the optimizers ``without``, and without the fallback, which prints."""
    with _as_model_error():
        return ort.InferenceSession(
            source,
            options,
            providers=providers,
            disabled_optimizers=without,
            enable_fallback=0,
        )


def _mend(options: ort.SessionOptions, said: str) -> bool:
    """Change ``options`` where a fault of onnxruntime's optimizer is known by what it ``said``."""
    if MIXED_INT8 in said:
        options.add_session_config_entry(KEEP_INT8, "1")
    elif LOST_OUTPUT in said:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    else:
        return False
    return True


@contextmanager
def _as_model_error() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime") or LOST_OUTPUT in str(error):
            said = f"onnxruntime cannot load the model: {runtime_message(error)}"
            raise ModelError(said) from error
        raise


def _hint(feeds: Mapping[str, Array]) -> str:
    """What may help where an input is one number wide, as random data is on free axes."""
    thin = next((k for k, v in feeds.items() if v.ndim > 1 and v.shape[-1] == 1), None)
    if thin is None:
        return ""
    return f"; random data has length 1 on free axes: fix them with --shape {thin}=1x3x224x224"


@contextmanager
def _as_data_error(feeds: Mapping[str, Array]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime") or BOUND_RUN in str(error):
            shapes = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in feeds.items())
            said = f"the model fails on a batch of {shapes}: {runtime_message(error)}"
            raise DataError(said + _hint(feeds)) from error
        if any(known in str(error) for known in NO_ARRAY):
            raise DataError(
                "onnxruntime has no arrays of bfloat16, float8 or 4-bit types, which the model "
                "reads or writes; give it inputs and outputs of float32 or float16"
            ) from error
        raise


def _info(value: Any) -> TensorInfo:
    inner = value.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(inner, inner)
    try:
        name: str | None = np.dtype(dtype).name
    except (TypeError, ValueError):  # no NumPy type; a sequence or a map reads like a wrong one
        name = dtype if dtype == "bfloat16" else None
    # onnxruntime reports an unknown rank as no axes, like a scalar's: believe neither
    shape: Shape | None = tuple(value.shape) if value.shape else None
    return TensorInfo(value.name, name, shape)
