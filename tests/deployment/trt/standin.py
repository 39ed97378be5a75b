"""A stand-in for the package tensorrt, with the names and the habits of its Python API.

It is not TensorRT: it records what was asked of it, and its inspector tells what a test has put in
``LAYERS``.  Environment variables say what it is: STANDIN_VERSION, STANDIN_FAULT.
"""

import json
import os
from typing import Any

__version__ = os.environ.get("STANDIN_VERSION", "10.3.0")
FAULT = os.environ.get("STANDIN_FAULT", "")
CALLS: list[tuple[Any, ...]] = []
LAYERS: list[Any] = [
    {
        "Name": "conv + relu",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", "Format/Datatype": "Int8 NC/32HW32"}],
        "Metadata": "[ONNX Layer: n_conv]\x1e[ONNX Layer: n_relu]",
    },
    "reformat",
]


class Logger:
    ERROR = 1

    def __init__(self, level: int) -> None:
        self.level = level


class NetworkDefinitionCreationFlag:
    EXPLICIT_BATCH = 0
    if __version__.startswith("10"):
        STRONGLY_TYPED = 1


class BuilderFlag:
    INT8, FP16, FP8, INT4 = "int8", "fp16", "fp8", "int4"


class ProfilingVerbosity:
    DETAILED = 2


class LayerInformationFormat:
    JSON = 1


class TensorIOMode:
    INPUT, OUTPUT = 1, 2


class Shapes:
    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        CALLS.append(("shape", name, shapes))


class Config:
    profiling_verbosity = 0

    def set_flag(self, flag: str) -> None:
        CALLS.append(("flag", flag))

    def add_optimization_profile(self, shapes: Shapes) -> None:
        CALLS.append(("profile",))


class Builder:
    def __init__(self, logger: Logger) -> None:
        if FAULT == "no gpu":
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int) -> str:
        CALLS.append(("network", flags))
        return "network"

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Shapes:
        return Shapes()

    def build_serialized_network(self, network: str, config: Config) -> bytes | None:
        CALLS.append(("verbosity", config.profiling_verbosity))
        return None if FAULT == "no engine" else b"plan"


class OnnxParser:
    num_errors = 1

    def __init__(self, network: str, logger: Logger) -> None:
        pass

    def parse_from_file(self, path: str) -> bool:
        with open(path, "rb") as file:
            CALLS.append(("parsed", len(file.read())))
        return FAULT != "refused"

    def get_error(self, at: int) -> str:
        return "In node 3 (importConv):\n UNSUPPORTED_NODE"


class DataType:
    itemsize = 4


class Context:
    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        CALLS.append(("runs at", name, shape))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (2, 3)

    def get_max_output_size(self, name: str) -> int:
        return 40

    def set_tensor_address(self, name: str, address: int) -> None:
        CALLS.append(("address", name, address))

    def execute_async_v3(self, stream: int) -> bool:
        CALLS.append(("run",))
        return True


class Inspector:
    def get_engine_information(self, form: int) -> str:
        return json.dumps({"Layers": LAYERS})


class Engine:
    num_io_tensors = 2

    def create_engine_inspector(self) -> Inspector:
        return Inspector()

    def create_execution_context(self) -> Context:
        return Context()

    def get_tensor_name(self, at: int) -> str:
        return ("x", "y")[at]

    def get_tensor_mode(self, name: str) -> int:
        return TensorIOMode.INPUT if name == "x" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType()


class Runtime:
    def __init__(self, logger: Logger) -> None:
        pass

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        return Engine() if plan == b"plan" else None
