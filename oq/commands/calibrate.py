"""``oq calibrate``: statistics only, for every calibrator at once."""

from pathlib import Path
from typing import Annotated

import typer

from oq.commands.console import say
from oq.commands.flags import (
    AutoBatchOpt,
    JsonOpt,
    KeepOpt,
    MemoryOpt,
    PreprocessOpt,
    ProviderOpt,
    RayOpt,
    SamplesOpt,
    SeedOpt,
    SetOpt,
    ShapeOpt,
)
from oq.errors import OptionError
from oq.options.kinds import parse_settings, parse_shapes
from oq.progress import show_progress


def calibrate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL.onnx | CACHE...", help="the model, or the caches of --merge"),
    ],
    cache: Annotated[Path, typer.Option("--cache", help="the file to write")] = Path("oq.cache"),
    target: Annotated[str, typer.Option("--target", "-t", help="see oq targets")] = "ort",
    data: Annotated[str | None, typer.Option("--data", "-d", help="as for oq quantize")] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="join finished caches of one model instead")
    ] = False,
    samples: SamplesOpt = None,
    batch_size: AutoBatchOpt = None,
    preprocess: PreprocessOpt = None,
    shape: ShapeOpt = None,
    keep_float: KeepOpt = None,
    settings: SetOpt = None,
    max_memory: MemoryOpt = None,
    provider: ProviderOpt = "cpu",
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="NUMBER/OF", help="one part of the samples: 3/16"),
    ] = None,
    ray: RayOpt = None,
    seed: SeedOpt = 0,
    as_json: JsonOpt = False,
) -> None:
    """Collect observer statistics for all calibrators in one pass.

    An interrupted run resumes where it stopped; --merge joins shards, or caches of parts of the
    data.
    """
    from oq import pipeline
    from oq.calibration.cache import merge_caches, save_cache, spans
    from oq.model.files import check_apart, check_writable

    check_writable(cache)
    lacking = None
    given = {} if merge else {"model": files[0], "data": None if data is None else Path(data)}
    check_apart({"--cache": cache}, given)
    if merge:
        whole = merge_caches(files)
        save_cache(whole, cache)
        samples, tensors = whole.samples, len(whole.statistics)
        lacking = whole.shards and spans(whole.shards.lacking)
    elif len(files) != 1 or data is None:
        raise OptionError("oq calibrate needs one MODEL.onnx and --data, or --merge A B ...")
    else:
        with show_progress() as watch:
            found = pipeline.calibrate(
                files[0],
                target,
                data,
                cache,
                samples=samples,
                batch_size=batch_size,
                preprocess=preprocess,
                shape=parse_shapes(shape),
                keep_float=tuple(keep_float or ()),
                settings=parse_settings(settings),
                max_memory=max_memory,
                provider=provider,
                shard=shard,
                ray=ray,
                seed=seed,
                watch=watch,
            )
        samples, tensors = found.samples, len(found.statistics)
    lines = [f"{cache}: statistics of {tensors} tensors over {samples:,} samples"]
    if lacking:
        lines.append(f"not all of them: shard {lacking} is still to be joined")
    said = {"cache": str(cache), "tensors": tensors, "samples": samples, "lacking": lacking}
    say(said if lacking else {k: v for k, v in said.items() if k != "lacking"}, lines, as_json)
