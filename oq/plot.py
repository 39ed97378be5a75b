"""A ranking of layers as a picture: error by layer, from weights and from activations."""

from pathlib import Path

from oq.errors import MissingExtra
from oq.files import replacing
from oq.rank import Ranking

DRAWN = 40
"""Layers in one picture, the worst ones."""


def require_matplotlib() -> None:
    """Fail now, not after the work.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra("report", "--plot", "matplotlib") from error


def draw_ranking(found: Ranking, path: Path) -> None:
    """Bars of output error power in percent of the signal's, the worst layer on top.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = found.layers[:DRAWN]
    places = range(len(rows))
    figure = Figure(figsize=(9, 1.5 + 0.25 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    sides = (
        ("weights", -0.2, [_percent(r.weights_db) for r in rows]),
        ("inputs", 0.2, [_percent(r.activations_db) for r in rows]),
    )
    for label, shift, values in sides:
        axes.barh([p + shift for p in places], values, height=0.4, label=label)
    axes.set_yticks(list(places), [r.node for r in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("error at the outputs with only this quantized, % of signal power")
    axes.set_title(f"{Path(found.model).name} for {found.target}", fontsize=10)
    axes.legend(loc="lower right")
    with replacing(path) as scratch:
        # no date and no random identifiers: same input, same bytes
        kind = path.suffix.lower().removeprefix(".")
        plain = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
        figure.savefig(scratch, format=kind, dpi=150, metadata=plain[kind])


def _percent(decibels: float | None) -> float:
    """Error power over signal power; 0 where there is nothing to quantize."""
    return 0.0 if decibels is None else float(100 * 10 ** (-decibels / 10))
