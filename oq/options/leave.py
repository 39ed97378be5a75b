"""The config that a run leaves beside its output."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import oq
from oq.model.files import replacing, write_text
from oq.options.config import write_config
from oq.reporting.report import Report
from oq.wording import counted


@contextmanager
def leaving_config(report: Report, output: Path, command: str = "quantize") -> Iterator[None]:
    """Write the config that repeats a run of ``command`` beside ``output``, once the block is done;
    without the page, which a repeat would write over."""
    about = [f"oq {oq.__version__}: oq {command} {report.model} --config THIS -o {output}"]
    if report.search is not None:
        kept, limit = counted(len(report.search.kept), "layer"), report.search.max_drop
        about.append(f"--max-drop {limit:g} ({report.search.metric}) keeps {kept} in float")
    path = output.with_name(f"{output.name}.yaml")
    options = {k: v for k, v in report.options.items() if k not in ("report", "ranking")}
    with replacing(path) as config:
        config.write_text(write_config(options, about, path.parent), encoding="utf-8")
        yield


def add_to_config(output: Path, more: Mapping[str, Any]) -> None:
    """Put what was done with ``output`` afterwards, keys with their values, into the config beside
    it."""
    path = output.with_name(f"{output.name}.yaml")
    before = path.read_text(encoding="utf-8")
    write_text(path, before + write_config(more, folder=path.parent))
