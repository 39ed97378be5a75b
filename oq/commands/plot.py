"""``oq plot``: saves one chart of a report as an image."""

from pathlib import Path
from typing import Annotated

import typer

from oq.errors import OptionError

ENDINGS = (".png", ".svg", ".pdf")


def plot(
    report: Annotated[Path, typer.Argument(metavar="REPORT.html", show_default=False)],
    name: Annotated[
        str, typer.Argument(help="errors, sensitivity, or the name of a tensor or weight")
    ] = "errors",
    output: Annotated[Path, typer.Option("--output", "-o", help=".png, .svg or .pdf")] = Path(
        "plot.png"
    ),
) -> None:
    """Save one chart of a report (--report) as an image."""
    import difflib

    from oq.model.files import check_apart, check_writable
    from oq.page.plot import (
        draw_activation,
        draw_layer_errors,
        draw_ranking,
        draw_weight,
        require_matplotlib,
    )
    from oq.page.read_report import read_pictures

    if output.suffix.lower() not in ENDINGS:
        raise OptionError(f"cannot write {str(output)!r}: expected {' or '.join(ENDINGS)}")
    check_writable(output)
    check_apart({"-o": output}, {"report": report})
    require_matplotlib("oq plot")
    found = read_pictures(report)
    if name in found.activations:
        draw_activation(found.activations[name], output)
    elif name in found.weights:
        draw_weight(found.weights[name], output)
    elif name == "errors" and found.layers:
        draw_layer_errors(found.layers, output)
    elif name == "sensitivity" and found.ranking is not None:
        draw_ranking(found.ranking, output)
    else:
        there = [*found.activations, *found.weights]
        there += ["errors"] * bool(found.layers) + ["sensitivity"] * (found.ranking is not None)
        close = difflib.get_close_matches(name, there, n=3, cutoff=0.3) or there[:3]
        raise OptionError(
            f"{str(report)!r} has no picture {name!r}; it has {len(there)}, such as "
            f"{', '.join(map(repr, close))}"
        )
