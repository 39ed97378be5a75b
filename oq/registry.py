"""Name -> the object in ``targets/<name>.py`` or ``calibrators/<name>.py``.

There is nothing to register: a file in the folder is found, and so are the entry points
``oq.targets`` and ``oq.calibrators`` of installed packages.
"""

import dataclasses
import importlib
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from oq.calibrator import Calibrator
from oq.errors import OptionError
from oq.target import Target


def target(name: str) -> Target:
    """The target called ``name``.

    Raises:
        OptionError: there is none; the message lists those there are.
    """
    found = _find("targets", name, "TARGET")
    if not isinstance(found, Target):
        raise TypeError(f"targets/{name}: TARGET is {type(found).__name__}, not a Target")
    return found


def calibrator(name: str, settings: dict[str, Any] | None = None) -> Calibrator:
    """The calibrator called ``name`` with ``settings`` for its fields.

    Raises:
        OptionError: no such calibrator, no such setting, or a value it refuses.
    """
    kind = _find("calibrators", name, "CALIBRATOR")
    known = [f.name for f in dataclasses.fields(kind)]
    for key in settings or {}:
        if key not in known:
            has = f"it has: {', '.join(known)}" if known else "it has none"
            raise OptionError(f"calibrator {name!r} has no setting {key!r}; {has}")
    try:
        made: Calibrator = kind(**(settings or {}))
    except (TypeError, ValueError) as error:
        raise OptionError(f"calibrator {name!r}: {error}") from error
    return made


def names(kind: str) -> tuple[str, ...]:
    """All names of ``kind`` ("targets" or "calibrators"), sorted."""
    return tuple(sorted({*_files(kind), *(e.name for e in _entries(kind))}))


def summary(kind: str, name: str) -> str:
    """The line that ``oq targets`` and ``oq calibrators`` print."""
    if kind == "targets":
        return target(name).summary
    text = _find(kind, name, "CALIBRATOR").__doc__ or ""
    return str(text).strip().splitlines()[0] if text.strip() else ""


def _find(kind: str, name: str, attribute: str) -> Any:
    if name in _files(kind):
        return getattr(importlib.import_module(f"oq.{kind}.{name}"), attribute)
    entry = next((e for e in _entries(kind) if e.name == name), None)
    if entry is None:
        raise OptionError(f"no {kind[:-1]} {name!r}; there is: {', '.join(names(kind))}")
    return entry.load()


def _files(kind: str) -> tuple[str, ...]:
    folder = importlib.import_module(f"oq.{kind}")
    return tuple(m.name for m in pkgutil.iter_modules(folder.__path__))


def _entries(kind: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"oq.{kind}"))
