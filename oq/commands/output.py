"""Where the file of a run goes; every path and the target are checked before the work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

READ = ("data", "eval_data", "labels", "ranges", "ranking", "preprocess")
"""Options that may name a file or a folder that is read."""

WRITTEN = ("cache", "report")
"""Options that name a file that is written."""


def output_of(model: Path, output: Path | None, options: Mapping[str, Any]) -> Path:
    """``output``, or the place beside the model."""
    return model.with_name(f"{model.stem}.{options['target']}.onnx") if output is None else output


def check_paths(
    model: Path, path: Path, options: Mapping[str, Any], beside: Mapping[str, Path | None]
) -> None:
    """That the target is one, the model is there, and ``path``, its config, the files ``beside``
    (what they are -> path) and those of the options can be written over nothing that is read.

    Raises:
        OptionError: one of these is not so.
    """
    from oq.errors import OptionError
    from oq.model.files import check_apart, check_exists, check_writable
    from oq.planning import registry

    registry.target(options["target"])
    check_exists(model)
    if not path.name:
        raise OptionError(f"-o {str(path)!r} names no file")
    written = {
        "-o": path,
        "the config beside -o": path.with_name(f"{path.name}.yaml"),
        "the file beside -o": path.with_name(f"{path.name}.data"),  # of models of 2 GB and more
        **beside,
        **{f"--{what}": path_of(options.get(what)) for what in WRITTEN},
    }
    for each in filter(None, written.values()):
        check_writable(each)
    read = {"model": model} | {what: path_of(options[what]) for what in READ if options.get(what)}
    check_apart(written, {what.replace("_", " "): given for what, given in read.items()})


def path_of(given: object) -> Path | None:
    """The path that an option may be."""
    return Path(given) if isinstance(given, str | Path) and str(given) else None
