"""Name -> the object in ``targets/<name>.py`` or ``calibrators/<name>.py``.

Registration is automatic: files in these folders are found, and so are the entry points
``oq.targets`` and ``oq.calibrators`` of installed packages.  A single file is loaded by
:func:`load_plugin` (``oq --plugin FILE.py``), what a running program defines by :func:`register`.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from oq.errors import OptionError, one_line
from oq.imports import import_file
from oq.numerics.calibrator import Calibrator, broken_contract
from oq.planning.target import Target

Plugin = TypeVar("Plugin")

_ATTRIBUTES = {"targets": "TARGET", "calibrators": "CALIBRATOR"}

_added: dict[str, dict[str, Any]] = {kind: {} for kind in _ATTRIBUTES}
"""Objects added by plugins and decorators, by kind and name."""


def register(name: str) -> Callable[[Plugin], Plugin]:
    """Add a target or a calibrator of a running program under ``name``.

    ``@register("mine")`` decorates a calibrator's class; ``register("mychip")(TARGET)`` adds a
    :class:`~oq.planning.target.Target`.

    Raises:
        OptionError: oq has one of that name.
    """

    def add(what: Plugin) -> Plugin:
        _add("targets" if isinstance(what, Target) else "calibrators", name, what)
        return what

    return add


def is_extended() -> bool:
    """Whether a plugin or a program has added something, which other processes lack."""
    return any(_added.values())


def load_plugin(path: Path) -> None:
    """Run the Python file at ``path`` and register its ``TARGET`` or ``CALIBRATOR`` under the
    file's stem.

    Raises:
        OptionError: there is no such file, it fails, it defines neither, what it defines breaks
            its contract, or its name is taken.
    """
    try:
        module = import_file(path, f"oq_plugin_{path.stem}")
    except Exception as error:  # the file is the user's, and so is what it raises
        raise OptionError(
            f"--plugin {str(path)!r}: raised {type(error).__name__}: {one_line(error)}"
        ) from error
    if module is None:
        raise OptionError(f"--plugin {str(path)!r}: expected a Python file")
    found = [(kind, a) for kind, a in _ATTRIBUTES.items() if hasattr(module, a)]
    if not found:
        raise OptionError(f"--plugin {str(path)!r} defines neither TARGET nor CALIBRATOR")
    for kind, attribute in found:
        what = getattr(module, attribute)
        why = _wrong(kind, what)
        if why is not None:
            raise OptionError(f"--plugin {str(path)!r}: {why}")
        _add(kind, path.stem, what)


def _wrong(kind: str, what: object) -> str | None:
    """Why ``what`` is not of ``kind``; None if it is."""
    if kind == "calibrators":
        return broken_contract(what)
    if isinstance(what, Target):
        return None
    return f"TARGET is {type(what).__name__}, which is not an oq.plugin.Target"


def _add(kind: str, name: str, what: Any) -> None:
    if name in _files(kind):
        raise OptionError(f"oq has a {kind[:-1]} {name!r} of its own; choose another name")
    _added[kind][name] = what


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
    return tuple(sorted({*_files(kind), *_added[kind], *(e.name for e in _entries(kind))}))


def summary(kind: str, name: str) -> str:
    """The line that ``oq targets`` and ``oq calibrators`` print."""
    if kind == "targets":
        return target(name).summary
    found = _find(kind, name, "CALIBRATOR")
    text = str(found.__doc__ or "").strip()
    made = text.startswith(f"{found.__name__}(")  # a dataclass without a docstring is given one
    return "" if made or not text else text.splitlines()[0]


def _find(kind: str, name: str, attribute: str) -> Any:
    if name in _files(kind):
        return getattr(importlib.import_module(f"oq.{kind}.{name}"), attribute)
    if name in _added[kind]:
        return _added[kind][name]
    entry = next((e for e in _entries(kind) if e.name == name), None)
    if entry is None:
        raise OptionError(f"no {kind[:-1]} {name!r}; available: {', '.join(names(kind))}")
    return entry.load()


def _files(kind: str) -> tuple[str, ...]:
    folder = importlib.import_module(f"oq.{kind}")
    return tuple(m.name for m in pkgutil.iter_modules(folder.__path__))


def _entries(kind: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"oq.{kind}"))
