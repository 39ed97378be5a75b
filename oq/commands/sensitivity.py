"""``oq sensitivity``: ranks layers by the accuracy they cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from oq.commands.console import say
from oq.commands.flags import (
    BatchOpt,
    CalibratorOpt,
    DataOpt,
    JsonOpt,
    KeepOpt,
    ModelArg,
    PreprocessOpt,
    RayOpt,
    RenameOpt,
    SeedOpt,
    SetOpt,
    ShapeOpt,
    TargetOpt,
    WeightsOpt,
)
from oq.errors import OptionError
from oq.options.kinds import parse_names, parse_settings, parse_shapes
from oq.options.rows import SAMPLES
from oq.progress import show_progress

TableOpt = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="write the table: .csv or .json"),
]
PlotOpt = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE", help="draw the table: .png, .svg or .pdf (needs matplotlib)"
    ),
]
JobsOpt = Annotated[
    int, typer.Option("--jobs", "-j", metavar="N", min=0, help="processes; 0: one per core")
]


def sensitivity(
    model: ModelArg,
    target: TargetOpt,
    data: DataOpt,
    output: TableOpt = None,
    plot: PlotOpt = None,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", min=1, help=SAMPLES.meaning)
    ] = 64,
    batch_size: BatchOpt = 8,
    rename: RenameOpt = None,
    preprocess: PreprocessOpt = None,
    shape: ShapeOpt = None,
    calibrator: CalibratorOpt = None,
    settings: SetOpt = None,
    weights: WeightsOpt = None,
    keep_float: KeepOpt = None,
    jobs: JobsOpt = 0,
    ray: RayOpt = None,
    seed: SeedOpt = 0,
    as_json: JsonOpt = False,
) -> None:
    """Rank the layers by the error that quantizing each one causes."""
    from oq.ranking import rank
    from oq.ranking.table import ranking_lines, write_table

    _check_outputs(output, plot, {"model": model, "data": Path(data)})
    with show_progress() as watch:
        found = rank.sensitivity(
            model,
            target,
            data,
            calibrator=calibrator,
            settings=parse_settings(settings),
            weights=weights,
            samples=samples,
            batch_size=batch_size,
            preprocess=preprocess,
            rename=parse_names(rename),
            shape=parse_shapes(shape),
            keep_float=tuple(keep_float or ()),
            jobs=jobs,
            ray=ray,
            seed=seed,
            watch=watch,
        )
    if output is not None:
        write_table(found, output)
    if plot is not None:
        from oq.page.plot import draw_ranking, save_figure

        save_figure(draw_ranking(found), plot)
    once = {"--preprocess": preprocess, "--calibrator": calibrator, "--weights": weights}
    several = {"--rename": rename, "--set": settings, "--shape": shape, "--keep-float": keep_float}
    say(found, ranking_lines(found, _written(once, several)), as_json)


def _written(
    once: Mapping[str, str | None], several: Mapping[str, Sequence[str] | None]
) -> list[str]:
    """The flags that were given, as on a command line."""
    flags = [word for pair in once.items() if pair[1] is not None for word in pair if word]
    return flags + [w for name, values in several.items() for v in values or () for w in (name, v)]


def _check_outputs(output: Path | None, plot: Path | None, read: Mapping[str, Path]) -> None:
    """That both can be written, and nothing that is ``read`` is written over."""
    from oq.model.files import check_apart

    _check(output, (".csv", ".json"))
    _check(plot, (".png", ".svg", ".pdf"))
    check_apart({"-o": output, "--plot": plot}, read)
    if plot is not None:
        from oq.page.plot import require_matplotlib

        require_matplotlib()


def _check(path: Path | None, endings: tuple[str, ...]) -> None:
    from oq.model.files import check_writable

    if path is None:
        return
    if path.suffix.lower() not in endings:
        raise OptionError(f"cannot write {str(path)!r}: expected {' or '.join(endings)}")
    check_writable(path)
