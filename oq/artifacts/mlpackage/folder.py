"""What lies where in a package: ``Manifest.json`` names the model and the folder of weights."""

import json
from pathlib import Path
from typing import Any

from oq.errors import ModelError, one_line

MANIFEST, DATA = "Manifest.json", "Data"


def find_model(package: Path) -> Path:
    """The ``model.mlmodel`` of ``package``, the root of its manifest.

    Raises:
        ModelError: the manifest is missing, damaged, or names a file that is not there.
    """
    if not package.is_dir():
        raise ModelError(f"{str(package)!r} is not a package: a package is a folder")
    manifest = _read_manifest(package / MANIFEST)
    root, items = manifest.get("rootModelIdentifier"), manifest.get("itemInfoEntries")
    if not isinstance(items, dict):
        raise ModelError(f"{package.name}/{MANIFEST} has no 'itemInfoEntries'")
    if root not in items:
        raise ModelError(f"{package.name}/{MANIFEST}: the root model {root!r} is none of its items")
    for item in items.values():
        place = _place(package, item)
        if not place.exists():
            raise ModelError(f"{package.name}/{MANIFEST} names {_path(item)!r}, which is missing")
    return _place(package, items[root])


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is not a manifest: {one_line(error)}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{str(path)!r} is not a manifest: it holds no object")
    return found


def _path(item: object) -> str:
    path = item.get("path") if isinstance(item, dict) else None
    if not isinstance(path, str):
        raise ModelError(f"{MANIFEST}: an item has no path")
    return path


def _place(package: Path, item: object) -> Path:
    return within(package / DATA, _path(item))


def within(folder: Path, relative: str) -> Path:
    """``relative`` below ``folder``.

    Raises:
        ModelError: it leads out of ``folder``.
    """
    place = folder / relative
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{relative!r} leads out of the package")
    return place
