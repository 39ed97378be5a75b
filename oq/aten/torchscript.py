"""The format ``torchscript``: an archive that torch alone loads, in Python and in C++."""

from pathlib import Path

from oq.deployment.formats import Format, Given, Made
from oq.training.convert import need_torch


def write(given: Given, path: Path) -> Made:
    """Write the archive and prove it."""
    need_torch("--to torchscript")
    from oq.aten.script import KIND
    from oq.aten.write import write as write_kind

    return write_kind(given, path, KIND)


FORMAT = Format(
    "torchscript",
    "TorchScript (.pt) of plain aten ops, loaded by torch alone; Q/DQ files of any target",
    ".pt",
    "ort",
    write,
    any_target=True,
    check=lambda options: need_torch("--to torchscript"),
)
