"""The format ``pt2``: an archive of ``torch.export``, which torch's compilers take."""

from pathlib import Path

from oq.deployment.formats import Format, Given, Made
from oq.training.convert import need_torch


def write(given: Given, path: Path) -> Made:
    """Write the archive and prove it."""
    need_torch("--to pt2")
    from oq.aten.exported import KIND
    from oq.aten.write import write as write_kind

    return write_kind(given, path, KIND)


FORMAT = Format(
    "pt2",
    "torch.export archive of plain aten ops, loaded by torch alone; Q/DQ files of any target",
    ".pt2",
    "ort",
    write,
    any_target=True,
    check=lambda options: need_torch("--to pt2"),
)
