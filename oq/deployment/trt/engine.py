"""Build an engine, tell its layers, time it: these functions stand in the script as they are.

``trt`` is the package tensorrt, 8.6 or newer.  Nothing else is imported but the standard library;
CUDA's runtime is reached by its C interface.  (docs.nvidia.com, TensorRT Python API; CUDA Runtime
API.)
"""

import ctypes
import glob
import json
import os
import re
import sys
import time
from typing import Any

# -- build ----------------------------------------------------------------------------------------


class RefusedError(Exception):
    """TensorRT's parser does not take the ONNX file."""


class BuildError(Exception):
    """TensorRT makes no engine here."""


def version_of(trt: Any) -> tuple[int, ...]:
    """(10, 3) of 10.3.0."""
    return tuple(int(part) for part in re.findall(r"\d+", trt.__version__)[:2])


def is_strongly_typed(trt: Any) -> bool:
    """Whether the types in the file settle those of all layers (10.12 and up), not flags."""
    return version_of(trt) >= (10, 12)


def network_flags(trt: Any) -> int:
    """The kind of network: TensorRT 11 has one only, 8 knew implicit batches."""
    if version_of(trt) >= (10, 0) and not is_strongly_typed(trt):
        return 0
    name = "STRONGLY_TYPED" if is_strongly_typed(trt) else "EXPLICIT_BATCH"
    kind = getattr(trt.NetworkDefinitionCreationFlag, name, None)
    return 0 if kind is None else 1 << int(kind)


def build_engine(trt: Any, model: str, profile: Any, flags: Any) -> bytes:
    """The engine of the ONNX file ``model``.  ``profile``: input -> its smallest, best and largest
    shape; ``flags``: builder flags of versions that are not strongly typed."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = _made(trt.Builder, logger)
    network = builder.create_network(network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(model):
        errors = [str(parser.get_error(i)) for i in range(parser.num_errors)]
        raise RefusedError(" ".join(" ".join(errors).split()))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not is_strongly_typed(trt):
        for flag in flags:
            config.set_flag(getattr(trt.BuilderFlag, flag))
    if profile:
        shapes = builder.create_optimization_profile()
        for name, (least, best, most) in profile.items():
            shapes.set_shape(name, least, best, most)
        config.add_optimization_profile(shapes)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError("the builder gave no engine; TensorRT's log says why")
    return bytes(plan)


def _made(make: Any, *given: Any) -> Any:
    """What ``make`` returns; without a GPU it returns nothing, or raises."""
    try:
        found = make(*given)
    except (TypeError, RuntimeError) as error:
        raise BuildError(" ".join(str(error).split())) from error
    if found is None:
        raise BuildError("TensorRT does not start; is there a GPU, and its driver?")
    return found


# -- layers ---------------------------------------------------------------------------------------

PRECISIONS = (
    ("int8", r"int8"),
    ("fp8", r"fp8|float8"),
    ("int4", r"int4"),
    ("bfloat16", r"bf16|bfloat"),
    ("float16", r"half|fp16|float16"),
    ("float32", r"float|fp32"),
)


def layers_of(trt: Any, plan: bytes) -> list[Any]:
    """What the engine inspector tells of each layer (a dict; a name alone of a plain engine)."""
    runtime = _made(trt.Runtime, trt.Logger(trt.Logger.ERROR))
    engine = _made(runtime.deserialize_cuda_engine, plan)
    inspector = engine.create_engine_inspector()
    told = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    found: list[Any] = json.loads(told).get("Layers", [])
    return found


def precision_of(layer: Any) -> str:
    """The type of a layer's first input, which is what it computes in; "" if it is not told."""
    inputs = layer.get("Inputs") or [{}] if isinstance(layer, dict) else [{}]
    first = inputs[0] if isinstance(inputs[0], dict) else {}
    keys = ("DataType", "Datatype", "Format/Datatype", "Format")  # TensorRT 11, and before
    text = next((str(first[key]) for key in keys if key in first), "")
    return next((name for name, form in PRECISIONS if re.search(form, text, re.I)), "")


def nodes_of(layer: Any) -> list[str]:
    """The ONNX nodes that a layer was made from."""
    if not isinstance(layer, dict):
        return [str(layer)]
    parts = str(layer.get("Metadata") or "").split("\x1e")
    found = [m[1] for m in (re.fullmatch(r"\[ONNX Layer: (.*)\]", p, re.S) for p in parts) if m]
    return found or str(layer.get("Name", "")).split(" + ")


# -- time -----------------------------------------------------------------------------------------


def time_engine(trt: Any, plan: bytes, profile: Any, runs: int) -> list[float]:
    """Milliseconds of each of so many ``runs`` at the best shapes, on zeros, after ten others."""
    engine = _made(trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine, plan)
    context = _made(engine.create_execution_context)
    cuda = load_cuda()
    for name, (_, best, _) in profile.items():
        context.set_input_shape(name, best)
    held = []
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            size = engine.get_tensor_dtype(name).itemsize
            for axis in context.get_tensor_shape(name):
                size *= axis
        else:
            size = context.get_max_output_size(name)
        held.append(ctypes.c_void_p())
        check(cuda.cudaMalloc(ctypes.byref(held[-1]), ctypes.c_size_t(max(size, 1))))
        check(cuda.cudaMemset(held[-1], 0, ctypes.c_size_t(max(size, 1))))
        context.set_tensor_address(name, held[-1].value)
    stream, spent = ctypes.c_void_p(), []
    check(cuda.cudaStreamCreate(ctypes.byref(stream)))
    for _ in range(10 + runs):
        start = time.perf_counter()
        if not context.execute_async_v3(stream.value):
            raise BuildError("TensorRT cannot run the engine")
        check(cuda.cudaStreamSynchronize(stream))
        spent.append(1000 * (time.perf_counter() - start))
    for pointer in held:
        check(cuda.cudaFree(pointer))
    check(cuda.cudaStreamDestroy(stream))
    return spent[10:]


def check(code: int) -> None:
    """Insist that a call of CUDA has worked."""
    if code:
        raise BuildError(f"CUDA's error {code}")


def load_cuda() -> Any:
    """CUDA's runtime: of the system, or of the packages nvidia-cuda-runtime."""
    names = ["libcudart.so", *(f"libcudart.so.{n}" for n in ("13", "12", "11.0"))]
    names += [f"cudart64_{n}.dll" for n in (13, 12, 110)]
    for folder in sys.path:
        names += glob.glob(os.path.join(glob.escape(folder), "nvidia", "*", "lib", "libcudart.so*"))
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise BuildError("CUDA's runtime is not found (libcudart.so)")
