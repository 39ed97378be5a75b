"""The interface of formats to deploy to, and the table of them.

A format is a module that exports ``FORMAT``, and a row here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx

from oq.data.source import Fitted
from oq.errors import OptionError
from oq.progress import Watch

FORMATS: Mapping[str, str] = {
    "coreml": "oq.deployment.coreml.format",
    "openvino": "oq.deployment.openvino.format",
    "pt2": "oq.aten.pt2",
    "qoperator": "oq.deployment.qoperator.write",
    "torchscript": "oq.aten.torchscript",
    "trt": "oq.deployment.trt.format",
    "xmodel": "oq.deployment.xmodel.format",
}
"""Name, as ``--to`` takes it -> its module: here, or above, where what it is made with stands."""


@dataclass(frozen=True, slots=True)
class Given:
    """What is deployed: the Q/DQ ``model``, the ``name`` of its file without suffix, the
    ``samples`` that the written file is compared on, the ``options`` of the format by keyword, and
    where the model's file lies (``source``, None of a model in memory)."""

    model: onnx.ModelProto
    name: str
    samples: Fitted
    options: Mapping[str, Any] = field(default_factory=dict)
    watch: Watch | None = None
    source: Path | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """One comparison of the written file with the Q/DQ file: what was compared, and the figures."""

    what: str
    figures: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Made:
    """What a format wrote: the proofs of it, facts (name -> text: deployment target, layout ...),
    what the user should know (``notes``) and do (``next_step``, ``{output}`` is where it lies), and
    lines for a shell by what they are for (``commands``)."""

    proofs: tuple[Proof, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    next_step: str = ""
    commands: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Format:
    """A format: who takes it (``summary``), the ``suffix`` of its file, or of its folder (``mark``:
    a file that every such folder holds), the suffixes of other files ``beside`` it, the ``target``
    whose rules a Q/DQ file must obey, of whatever tool (with ``any_target`` it need not, and this
    is only the target to name to who has a float model), ``others`` whose files obey them too, and
    the keywords of :func:`oq.deploy` that are its own.  ``ending``: what ``-o`` must end in, if not
    in the ``suffix``.  ``takes_float``: whether these options ask for a float model instead.
    ``check`` raises what its own options, or a package that is not installed, will lead to with any
    model.

    ``write`` writes to a path that is free and compares what lies there with the Q/DQ file.  It
    raises `ModelError` for what it cannot express, by the node's name, before it writes, and
    `MissingExtra` for a missing package."""

    name: str
    summary: str
    suffix: str
    target: str
    write: Callable[[Given, Path], Made]
    mark: str = ""
    beside: tuple[str, ...] = ()
    any_target: bool = False
    others: tuple[str, ...] = ()
    ending: str = ""
    options: tuple[str, ...] = ()
    takes_float: Callable[[Mapping[str, Any]], bool] = lambda options: False
    check: Callable[[Mapping[str, Any]], object] = lambda options: None


def find_format(name: str) -> Format:
    """The format called ``name``.

    Raises:
        OptionError: there is none.
    """
    if name not in FORMATS:
        raise OptionError(f"no format {name!r}; available: {', '.join(sorted(FORMATS))}")
    found: Format = import_module(FORMATS[name]).FORMAT
    return found
