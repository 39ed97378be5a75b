"""``oq.inspect``: what a file holds, ONNX or of a device."""

from pathlib import Path

import onnx

from oq.artifacts.artifact import Contents, is_artifact, open_artifact
from oq.artifacts.onnx_file import file_contents, model_contents


def inspect(file: str | Path | onnx.ModelProto) -> Contents:
    """What ``file`` holds: its ops, the grids of its tensors, its sizes.  Nothing is run.

    Raises:
        ModelError: it cannot be read.
        MissingExtra: a package that its reader needs is not installed.
    """
    if isinstance(file, onnx.ModelProto):
        return model_contents(file)
    path = Path(file)
    if is_artifact(path):
        return open_artifact(path).contents()
    return file_contents(path)
