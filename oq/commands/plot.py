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
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help=".png, .svg or .pdf")
    ] = Path("plot.png"),
) -> None:
    """Save one chart of a report (--report) as an image."""
    from oq.model.files import check_apart, check_writable
    from oq.page.picture import plot as draw
    from oq.page.plot import save_figure

    if output.suffix.lower() not in ENDINGS:
        raise OptionError(f"cannot write {str(output)!r}: expected {' or '.join(ENDINGS)}")
    check_writable(output)
    check_apart({"-o": output}, {"report": report})
    save_figure(draw(report, name), output)
