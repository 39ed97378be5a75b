"""What ``oq deploy`` notes in the metadata of a package: the names of the ONNX file."""

import json
from collections.abc import Mapping, Sequence

from oq.errors import ModelError, one_line

INPUTS, OUTPUTS, TENSORS, TYPES = "oq.inputs", "oq.outputs", "oq.tensors", "oq.types"
"""Names of the ONNX file's inputs and outputs, in the order of the package's own; ONNX name of an
inner tensor -> name in the program, where it is another; ONNX input or output -> its dtype."""


def read_names(metadata: Mapping[str, str], key: str) -> Sequence[str] | None:
    """The list of names under ``key``, None without it.

    Raises:
        ModelError: it is something else.
    """
    if key not in metadata:
        return None
    found = _load(metadata, key)
    if not isinstance(found, list) or not all(isinstance(n, str) for n in found):
        raise ModelError(f"metadata {key!r} is not a list of names")
    return found


def read_mapping(metadata: Mapping[str, str], key: str) -> Mapping[str, str]:
    """The mapping of names under ``key``, empty without it.

    Raises:
        ModelError: it is something else.
    """
    if key not in metadata:
        return {}
    found = _load(metadata, key)
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ModelError(f"metadata {key!r} maps no names to names")
    return found


def _load(metadata: Mapping[str, str], key: str) -> object:
    try:
        return json.loads(metadata[key])
    except ValueError as error:
        raise ModelError(f"metadata {key!r} is not JSON: {one_line(error)}") from error
