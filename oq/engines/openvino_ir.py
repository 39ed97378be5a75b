"""OpenVINO's IR as a device file: read by oq's own reader, run by OpenVINO's CPU plugin."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from oq.artifacts.artifact import Contents
from oq.artifacts.openvino_xml import File, read_ir
from oq.engines.openvino import HEAVY_LAYERS, INTEGERS, Compiled, runtime_layers
from oq.model.session import Settings
from oq.numerics.values import FLOAT_DTYPES, Array


class OpenvinoFile:
    """The IR at ``path``; OpenVINO loads it when it is first run.

    Raises:
        ModelError: it is not an IR, or it is damaged.
    """

    format = "openvino"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: File = read_ir(path)
        self.inputs, self.outputs = self.file.inputs, self.file.outputs
        self._loaded: Compiled | None = None

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs (all of them when ``outputs`` is None) for one batch.

        Raises:
            DataError: the model fails on this batch.
            MissingExtra: openvino is not installed.
            ModelError: OpenVINO cannot load the files.
        """
        if self._loaded is None:
            names = [o.name for o in self.outputs]
            self._loaded = Compiled(self.path, Settings(), names)
        types = {i.name: i.dtype for i in self.inputs if i.dtype in FLOAT_DTYPES}
        fitting = {n: v.astype(types[n]) if n in types else v for n, v in feeds.items()}
        return self._loaded.run(fitting, outputs)

    def contents(self) -> Contents:
        """What the two files hold, without OpenVINO."""
        return self.file.contents()

    def integer_layers(self) -> tuple[int, int]:
        """The compute-heavy layers of OpenVINO's runtime graph in int8, and those in float."""
        heavy = [layer for layer in runtime_layers(self.path) if layer.kind in HEAVY_LAYERS]
        integer = sum(layer.precision in INTEGERS for layer in heavy)
        return integer, len(heavy) - integer


def open_file(path: Path) -> OpenvinoFile:
    """The IR at ``path``."""
    return OpenvinoFile(path)
