"""What a file's metadata says of its making."""

from pathlib import Path

import onnx


def target_of(model: onnx.ModelProto | Path) -> str | None:
    """The target in the metadata of a model or of the file at a path; None if oq did not write
    it."""
    if isinstance(model, Path):
        model = onnx.load(model, load_external_data=False)
    return {p.key: p.value for p in model.metadata_props}.get("oq.target")
