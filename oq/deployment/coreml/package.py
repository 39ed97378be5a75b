"""The folder of a Core ML package, the same bytes for the same program.

``Manifest.json`` names the items of a package by ids; coremltools draws them at random.  Here an id
is the hash of what the item holds.  Layout: coremltools 9.0, ``modelpackage``.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AUTHOR = "com.apple.CoreML"
MODEL = f"{AUTHOR}/model.mlmodel"
WEIGHTS = f"{AUTHOR}/weights"
MARK = "Manifest.json"


def write_package(spec: Any, weights: Path | None, path: Path) -> None:
    """Write the model ``spec`` (a protobuf) with its folder of ``weights`` to the folder
    ``path``."""
    data = path / "Data"
    (data / AUTHOR).mkdir(parents=True)
    body = spec.SerializeToString(deterministic=True)
    (data / MODEL).write_bytes(body)
    hashed = hashlib.sha256(body)
    items = {}
    if weights is not None and any(weights.iterdir()):
        shutil.copytree(weights, data / WEIGHTS)
        for file in sorted((data / WEIGHTS).iterdir()):
            hashed.update(file.read_bytes())
        items[_id(hashed, "weights")] = _item("CoreML Model Weights", Path(WEIGHTS).name, WEIGHTS)
    root = _id(hashed, "model")
    items[root] = _item("CoreML Model Specification", Path(MODEL).name, MODEL)
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": items,
        "rootModelIdentifier": root,
    }
    (path / MARK).write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n")


def _id(hashed: Any, what: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{what} {hashed.hexdigest()}")).upper()


def _item(description: str, name: str, path: str) -> Mapping[str, str]:
    return {"author": AUTHOR, "description": description, "name": name, "path": path}


def describe(spec: Any, metadata: Mapping[str, str], names: Mapping[str, str]) -> None:
    """Put ``metadata`` into ``spec``, and the ONNX names of its inputs and outputs (those that are
    arrays or images); ``names``: the program's name -> ONNX's."""
    there = spec.description.metadata.userDefined
    for key, value in metadata.items():
        there[key] = value
    for key, features in (("inputs", spec.description.input), ("outputs", spec.description.output)):
        kept = [names.get(f.name, f.name) for f in features if f.type.WhichOneof("Type") in ARRAYS]
        there[f"oq.{key}"] = json.dumps(kept)


ARRAYS = frozenset({"multiArrayType", "imageType"})
"""Types of inputs and outputs that hold a tensor; others are a classifier's label and scores."""


def program_names(spec: Any) -> set[str]:
    """The names of all that the program of ``spec`` computes."""
    found: set[str] = set()
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            found.update(o.name for op in block.operations for o in op.outputs)
    return found
