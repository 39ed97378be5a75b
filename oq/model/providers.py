"""onnxruntime's execution providers: names, what installs them, and which nodes each one ran."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oq.errors import OptionError


@dataclass(frozen=True, slots=True)
class Provider:
    """``own`` is the name that onnxruntime has for it, ``device`` where its tensors lie, and
    ``get`` says how to get a build of onnxruntime that has it."""

    own: str
    device: str
    get: str


def _pip(package: str) -> str:
    return f"pip uninstall onnxruntime, then pip install {package}"


GPU = _pip("onnxruntime-gpu")

PROVIDERS: Mapping[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", "cpu", "pip install onnxruntime"),
    "cuda": Provider("CUDAExecutionProvider", "cuda", GPU),
    "tensorrt": Provider("TensorrtExecutionProvider", "cuda", GPU),
    "coreml": Provider("CoreMLExecutionProvider", "cpu", "onnxruntime for macOS has it"),
    "openvino": Provider("OpenVINOExecutionProvider", "cpu", _pip("onnxruntime-openvino")),
    "dml": Provider("DmlExecutionProvider", "dml", _pip("onnxruntime-directml")),
    "rocm": Provider("ROCMExecutionProvider", "cuda", _pip("onnxruntime-rocm")),
}
"""The names of ``--provider``; onnxruntime's own names are taken too."""

CPU = PROVIDERS["cpu"].own


def own_name(name: str) -> str:
    """What onnxruntime calls the provider ``name``."""
    known = PROVIDERS.get(name)
    return name if known is None else known.own


def choose_providers(name: str, available: Sequence[str]) -> list[str]:
    """What a session asks for: the provider called ``name``, and the CPU for nodes it has not.

    Raises:
        OptionError: it is not among the ``available`` ones.
    """
    wanted = own_name(name)
    if wanted not in available:
        known = PROVIDERS.get(name)
        short = {p.own: n for n, p in PROVIDERS.items()}
        here = ", ".join(short.get(p, p) for p in available)
        get = "" if known is None else f"; {known.get}"
        raise OptionError(f"provider {name!r} is not in this onnxruntime; it has: {here}{get}")
    return [wanted] if wanted == CPU else [wanted, CPU]


def check_started(name: str, running: Sequence[str]) -> None:
    """Check that a session that asked for the provider ``name`` has it: onnxruntime leaves out one
    whose libraries or device it does not find.

    Raises:
        OptionError: it is not among those ``running``.
    """
    if own_name(name) not in running:
        raise OptionError(
            f"provider {name!r} does not start here: onnxruntime finds no such device, or not the "
            "libraries that it needs (CUDA and cuDNN for cuda)"
        )


def device_of(name: str) -> str:
    """Where the tensors of the provider ``name`` lie, as onnxruntime calls it."""
    known = PROVIDERS.get(name)
    return "cpu" if known is None else known.device


Placements = Mapping[str, Counter[str]]
"""Provider, by onnxruntime's name -> how many nodes of each op it ran."""


def read_placements(trace: Path, but: str) -> Placements:
    """Which nodes each provider ran, from a profile of onnxruntime; those whose names begin with
    ``but`` are left out."""
    ran: dict[tuple[str, str], tuple[str, str]] = {}
    for event in json.loads(trace.read_text(encoding="utf-8")):
        said = event.get("args", {})
        if event.get("cat") == "Node" and "provider" in said and not event["name"].startswith(but):
            where = (event["name"], said.get("node_index", ""))
            ran[where] = said["provider"], said.get("op_name", "?")
    found: dict[str, Counter[str]] = {}
    for provider, op in ran.values():
        found.setdefault(provider, Counter())[op] += 1
    return found


def fallback_note(name: str, placed: Placements) -> tuple[str, ...]:
    """The nodes that the CPU ran although the provider ``name`` was asked for; nothing if there are
    none.

    >>> fallback_note("cuda", {"CUDAExecutionProvider": Counter(Conv=8), CPU: Counter(Shape=1)})
    ('1 of 9 nodes ran on the CPU, not in cuda: Shape 1',)
    """
    here, total = placed.get(CPU, Counter()), sum(c.total() for c in placed.values())
    if own_name(name) == CPU or not here:
        return ()
    ops = ", ".join(f"{op} {count}" for op, count in sorted(here.items()))
    return (f"{here.total()} of {total} nodes ran on the CPU, not in {name}: {ops}",)
