"""``oq calibrate``: statistics only, for every calibrator at once."""

from pathlib import Path
from typing import Annotated, Any

import typer

from oq.commands.console import say
from oq.commands.flags import JsonOpt, flag, read_flags, takes
from oq.errors import OptionError
from oq.options.keywords import CalibrateOptions, options_of
from oq.options.rows import DATA, TARGET, Option
from oq.progress import show_progress

OPTIONS: dict[str, Option] = options_of(CalibrateOptions)


@takes(OPTIONS)
def calibrate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL.onnx|CACHE", help="the model, or the caches of --merge"),
    ],
    cache: Annotated[
        Path, typer.Option("--cache", metavar="FILE", help="the file to write")
    ] = Path("oq.cache"),
    target: Annotated[str, flag(TARGET)] = "ort",
    data: Annotated[str | None, flag(DATA)] = None,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge", help="join shards or finished caches of one model; calibrate nothing"
        ),
    ] = False,
    as_json: JsonOpt = False,
    **flags: Any,
) -> None:
    """Collect observer statistics for all calibrators in one pass.

    An interrupted run resumes where it stopped.
    """
    from oq import pipeline
    from oq.calibration.cache import merge_caches, save_cache, spans
    from oq.model.files import check_apart, check_writable

    check_writable(cache)
    given = {} if merge else {"model": files[0], "data": None if data is None else Path(data)}
    check_apart({"--cache": cache}, given)
    lacking, notes = "", tuple[str, ...]()
    if merge:
        whole = merge_caches(files)
        save_cache(whole, cache)
        samples, tensors = whole.samples, len(whole.statistics)
        lacking = "" if whole.shards is None else spans(whole.shards.lacking)
    elif len(files) != 1 or data is None:
        raise OptionError("oq calibrate needs one MODEL.onnx and --data, or --merge A B ...")
    else:
        options = read_flags(OPTIONS, flags)
        with show_progress() as watch:
            found = pipeline.calibrate(files[0], target, data, cache, **options, watch=watch)
        samples, tensors, notes = found.samples, len(found.statistics), found.notes
    lines = [f"{cache}: statistics of {tensors} tensors over {samples:,} samples"]
    said = {"cache": str(cache), "tensors": tensors, "samples": samples}
    if lacking:
        lines.append(f"not all of them: shard {lacking} is still to be joined")
        said["lacking"] = lacking
    if notes:
        lines += [f"note: {note}" for note in notes]
        said["notes"] = list(notes)
    say(said, lines, as_json)
