"""A ``torch.export`` archive (.pt2), evaluated node by node.

torch's own loader runs text of the file as Python (guards, names of operators, sizes as formulas)
and unpickles what lies in it.  This one reads JSON and raw bytes, and calls what
:mod:`oq.artifacts.torchfiles.allowed` lists.  Fields as torch 2.8 and later write them
(``torch/_export/serde/schema.py``).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oq.artifacts.artifact import Contents
from oq.artifacts.torchfiles.allowed import ASSERTIONS, ATEN, SIZES
from oq.artifacts.torchfiles.archive import Archive, open_archive, said_by
from oq.artifacts.torchfiles.contents import contents_of
from oq.artifacts.torchfiles.grids import Call, Flow, Name
from oq.errors import DataError, ModelError, one_line
from oq.numerics.values import Array

GRAPH = "models/model.json"
TABLES = {
    "data/weights/": "model_weights_config.json",
    "data/constants/": "model_constants_config.json",
}
"""Folder of tensors -> the file that says which is which."""

OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")

TYPES: Mapping[int, torch.dtype] = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64,
    6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
    28: torch.uint16, 29: torch.float8_e4m3fn,
}  # fmt: skip
"""Number of a type in the file -> the type."""

CONSTANT = {"buffer": "buffer_name", "parameter": "parameter_name",
            "tensor_constant": "tensor_constant_name"}  # fmt: skip
"""Kind of an input of the graph that is a constant -> where its name stands."""


class ExportedFile:
    """The archive at ``path``.

    Raises:
        ModelError: it is none, it is damaged, or it calls what is not allowed.
    """

    format = "pt2"

    def __init__(self, path: Path) -> None:
        self.archive = open_archive(path)
        self.said = said_by(self.archive)
        self.inputs, self.outputs = self.said.inputs, self.said.outputs
        try:
            module = self.archive.json_of(GRAPH)["graph_module"]
            self.graph: dict[str, Any] = module["graph"]
            self.nodes: list[dict[str, Any]] = self.graph["nodes"]
            signature = module["signature"]["input_specs"]
            self._functions = [_function(node["target"], path) for node in self.nodes]
            self.constants = self._constants(signature)
            self.fed = [s["user_input"]["arg"]["as_tensor"]["name"] for s in signature
                        if "user_input" in s]  # fmt: skip
            self.given = [o["as_tensor"]["name"] for o in self.graph["outputs"]]
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ModelError(f"{str(path)!r} is damaged: {GRAPH}: {error!r}") from error
        if len(self.fed) != len(self.inputs) or len(self.given) != len(self.outputs):
            raise ModelError(f"{str(path)!r} is damaged: its names and its graph do not agree")

    def _constants(self, signature: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        held: dict[str, Tensor] = {}
        for folder, table in TABLES.items():
            for name, row in self.archive.json_of(folder + table)["config"].items():
                if row.get("use_pickle"):
                    raise ModelError(
                        f"{str(self.archive.path)!r} holds {name!r} as a pickle, which oq does "
                        "not read; accepted are raw tensors"
                    )
                meta = row["tensor_meta"]
                held[name] = _tensor(self.archive, folder + row["path_name"], meta)
        found = {}
        for spec in signature:
            for kind, key in CONSTANT.items():
                if kind in spec:
                    found[spec[kind]["arg"]["name"]] = held[spec[kind][key]]
        return found

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs (all of them when ``outputs`` is None) for one batch.

        Raises:
            DataError: the graph fails on this batch.
        """
        values: dict[str, Any] = dict(self.constants)
        for info, name in zip(self.inputs, self.fed, strict=True):
            held = np.ascontiguousarray(feeds[info.name].astype(info.dtype or "float32"))
            values[name] = torch.from_numpy(held)
        with torch.no_grad():
            for node, function in zip(self.nodes, self._functions, strict=True):
                if function is not None:
                    self._step(node, function, values)
        names = [o.name for o in self.outputs]
        found = dict(zip(names, (values[name] for name in self.given), strict=True))
        return [found[n].numpy() for n in (names if outputs is None else outputs)]

    def _step(
        self, node: Mapping[str, Any], function: Callable[..., Any], values: dict[str, Any]
    ) -> None:
        try:
            args = [_read(i["arg"], values) for i in node["inputs"] if i.get("kind") != KEYWORD]
            named = {i["name"]: _read(i["arg"], values) for i in node["inputs"]
                     if i.get("kind") == KEYWORD}  # fmt: skip
            made = function(*args, **named)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            said = f"node {node.get('name')!r} fails on this batch: {one_line(error)}"
            raise DataError(said) from error
        names = [name for out in node["outputs"] for name in _results(out)]
        listed = made if isinstance(made, tuple | list) else [made]
        values.update(zip(names, listed, strict=True))

    def contents(self) -> Contents:
        """What the file holds."""
        return contents_of("pt2", self.archive, self.said, self._flow(), self.constants)

    def integer_layers(self) -> tuple[int, int]:
        """None computes on integers: the graph dequantizes in front of every layer."""
        return 0, self._flow().weighted()

    def _flow(self) -> Flow:
        calls = []
        for node in self.nodes:
            names = [name for out in node["outputs"] for name in _results(out)]
            args = tuple(_shown(i["arg"]) for i in node["inputs"])
            matched = OPERATOR.fullmatch(node["target"])
            if matched is not None and names:
                calls.append(Call(matched[1], args, names[0]))
        return Flow(calls, self.constants)


KEYWORD = 2
"""How an argument that is given by name is marked."""


def _function(target: str, path: Path) -> Callable[..., Any] | None:
    """What a node calls; None for an assertion.

    Raises:
        ModelError: it is not among what may be called.
    """
    if target in ASSERTIONS:
        return None
    if target in SIZES:
        return SIZES[target]
    matched = OPERATOR.fullmatch(target)
    if matched is not None and matched[1] in ATEN:
        packet = getattr(torch.ops.aten, matched[1], None)
        found: Callable[..., Any] | None = getattr(packet, matched[2], None)
        if found is not None:
            return found
    raise ModelError(f"{str(path)!r} calls {target}, which oq does not run from a file")


def _tensor(archive: Archive, name: str, meta: Mapping[str, Any]) -> Tensor:
    dtype = TYPES.get(meta["dtype"])
    sizes = [int(s["as_int"]) for s in meta["sizes"]]
    strides = [int(s["as_int"]) for s in meta["strides"]]
    if dtype is None:
        raise ModelError(f"{str(archive.path)!r}: {name} has a type that oq does not read")
    raw = bytearray(archive.bytes_of(name))
    try:
        if not raw and 0 in sizes:
            return torch.empty(sizes, dtype=dtype)
        flat = torch.frombuffer(raw, dtype=dtype)
        return flat.as_strided(sizes, strides, int(meta["storage_offset"]["as_int"])).clone()
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{str(archive.path)!r} is damaged: {name}: {one_line(error)}") from error


def _value(values: Mapping[str, Any]) -> Callable[[Any], Any]:
    def size(arg: Mapping[str, Any]) -> Any:
        return values[arg["as_name"]] if "as_name" in arg else next(iter(arg.values()))

    return size


def _read(arg: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """An argument as the function takes it."""
    ((kind, held),) = arg.items()
    if kind not in READ:
        raise ModelError(f"an argument of kind {kind} is not read here")
    return READ[kind](held, values)


READ: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "as_none": lambda held, values: None,
    "as_tensor": lambda held, values: values[held["name"]],
    "as_tensors": lambda held, values: [values[t["name"]] for t in held],
    "as_optional_tensors": lambda held, values: [
        values[t["as_tensor"]["name"]] if "as_tensor" in t else None for t in held
    ],
    **dict.fromkeys(
        ("as_int", "as_ints", "as_bool", "as_bools", "as_string"),
        lambda held, values: held,
    ),
    "as_float": lambda held, values: float(held),  # JSON has infinities as text
    "as_floats": lambda held, values: [float(v) for v in held],
    "as_sym_int": lambda held, values: _value(values)(held),
    "as_sym_ints": lambda held, values: [_value(values)(s) for s in held],
    "as_sym_float": lambda held, values: _value(values)(held),
    "as_sym_bool": lambda held, values: _value(values)(held),
    "as_scalar_type": lambda held, values: TYPES[held],
    "as_device": lambda held, values: torch.device("cpu"),
    "as_layout": lambda held, values: torch.strided,
    "as_memory_format": lambda held, values: (
        torch.preserve_format if held == PRESERVE else torch.contiguous_format
    ),
}
"""Kind of an argument -> how it is read."""

PRESERVE = 4


def _shown(arg: Mapping[str, Any]) -> Any:
    ((kind, held),) = arg.items()
    return Name(held["name"]) if kind == "as_tensor" else held


def _results(out: Mapping[str, Any]) -> list[str]:
    ((kind, held),) = out.items()
    if kind == "as_tensor":
        return [held["name"]]
    if kind == "as_tensors":
        return [t["name"] for t in held]
    return [held["as_name"]] if isinstance(held, dict) and "as_name" in held else []


def open_file(path: Path) -> ExportedFile:
    """The archive at ``path``."""
    return ExportedFile(path)
