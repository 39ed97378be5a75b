"""Import path for ``package.module:callable``, which may be in the current folder."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


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
