"""A TorchScript archive (.pt): its code is parsed before torch loads it.

Loading runs no Python, but TorchScript: that of ``__setstate__`` at once, the rest when the model
runs.  Its functions can read and write files (``aten::from_file``, ``aten::save``), so that every
call is looked up in :mod:`oq.artifacts.torchfiles.allowed` first.
"""

import ast
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oq.artifacts.artifact import Contents
from oq.artifacts.torchfiles.allowed import ATEN, PRIM, WORDS
from oq.artifacts.torchfiles.archive import Archive, open_archive, said_by
from oq.artifacts.torchfiles.contents import contents_of
from oq.artifacts.torchfiles.grids import Call, Flow, Name
from oq.errors import DataError, ModelError, one_line
from oq.numerics.values import Array

CODE = "code/"
HELD = re.compile(
    r"(data|constants)\.pkl|(data|constants)/\d+|code/[\w./]+\.py|extra/oq\.json"
    r"|version|byteorder|\.data/serialization_id"
)
"""The files of an archive: torch reads others too, code of earlier versions among them."""

SPOKEN = {"torch": ATEN, "ops.aten": ATEN, "ops.prim": PRIM}
"""Where a function stands in TorchScript's text -> those that may be called."""

METHOD = "forward"


class ScriptFile:
    """The archive at ``path``.

    Raises:
        ModelError: it is none, it is damaged, or its code calls what is not allowed.
    """

    format = "torchscript"

    def __init__(self, path: Path) -> None:
        self.archive = open_archive(path)
        _check_code(self.archive)
        self.said = said_by(self.archive)
        self.inputs, self.outputs = self.said.inputs, self.said.outputs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated
            load: Any = torch.jit.load
            try:
                self._module: Any = load(str(path), map_location="cpu")
            except (RuntimeError, ValueError) as error:
                raise ModelError(f"{str(path)!r} is damaged: {one_line(error)[:300]}") from error

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs (all of them when ``outputs`` is None) for one batch.

        Raises:
            DataError: the model fails on this batch.
        """
        given = [
            torch.from_numpy(np.ascontiguousarray(feeds[i.name].astype(i.dtype or "float32")))
            for i in self.inputs
        ]
        try:
            with torch.no_grad():
                made = self._module(*given)
        except RuntimeError as error:
            raise DataError(f"the model fails on this batch: {one_line(error)[-300:]}") from error
        listed = made if isinstance(made, tuple | list) else [made]
        names = [o.name for o in self.outputs]
        found = dict(zip(names, listed, strict=True))
        return [found[n].numpy() for n in (names if outputs is None else outputs)]

    def contents(self) -> Contents:
        """What the file holds."""
        return contents_of("torchscript", self.archive, self.said, self._flow(), self._tensors())

    def integer_layers(self) -> tuple[int, int]:
        """None computes on integers: the graph dequantizes in front of every layer."""
        return 0, self._flow().weighted()

    def _tensors(self) -> dict[str, Tensor]:
        return dict(self._module.state_dict())

    def _flow(self) -> Flow:
        named: dict[str, str] = {}
        calls = []
        for node in self._module.inlined_graph.nodes():
            domain, _, op = node.kind().partition("::")
            results = [value.debugName() for value in node.outputs()]
            if node.kind() == "prim::GetAttr":
                named[results[0]] = node.s("name")
            if domain == "aten":
                args = tuple(_argument(value, named) for value in node.inputs())
                calls.append(Call(op, args, results[0]))
        return Flow(calls, self._tensors())


def _argument(value: Any, named: Mapping[str, str]) -> Any:
    """A number, or the name of a value: of a constant, that of its tensor."""
    held = value.toIValue()
    if isinstance(held, Tensor) and held.numel() == 1:
        return held.item()
    name = value.debugName()
    return held if isinstance(held, int | float | bool) else Name(named.get(name, name))


def _check_code(archive: Archive) -> None:
    """Insist on code that computes and does nothing else."""
    for name in archive.sizes:
        if not HELD.fullmatch(name):
            raise ModelError(
                f"{str(archive.path)!r} holds {name!r}, which TorchScript of oq deploy does not"
            )
    files = [n for n in archive.sizes if n.startswith(CODE) and n.endswith(".py")]
    if not files:
        raise ModelError(f"{str(archive.path)!r} is not TorchScript: there is no code in it")
    for name in files:
        try:
            parsed = ast.parse(archive.bytes_of(name))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ModelError(f"{str(archive.path)!r} is damaged: {name}: {error}") from error
        for found in _strange(parsed):
            raise ModelError(
                f"{str(archive.path)!r}: {name} has {found}, which oq does not run from a file"
            )


def _strange(parsed: ast.Module) -> Iterator[str]:
    for node in ast.walk(parsed):
        if isinstance(node, ast.FunctionDef) and node.name != METHOD:
            yield f"a method {node.name}"
        if isinstance(node, ast.Call) and not _may_call(node.func):
            yield f"a call of {ast.unparse(node.func)[:80]}"


def _may_call(called: ast.expr) -> bool:
    text = ast.unparse(called)
    if text in WORDS:
        return True
    if not isinstance(called, ast.Attribute):
        return False
    return called.attr in SPOKEN.get(ast.unparse(called.value), frozenset())


def open_file(path: Path) -> ScriptFile:
    """The archive at ``path``."""
    return ScriptFile(path)
