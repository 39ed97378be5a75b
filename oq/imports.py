"""Modules of the user's: in the current folder, or a file."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


@contextlib.contextmanager
def current_folder_importable() -> Iterator[None]:
    """Put the current folder first on the import path, as ``python -m`` does."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        # The user's import may have taken it off already.
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def import_file(path: Path, name: str) -> ModuleType | None:
    """The Python file at ``path``, run as the module ``name``; None if it is not a Python file.

    What the file raises is raised.
    """
    if not path.is_file() or path.suffix != ".py":
        return None
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
