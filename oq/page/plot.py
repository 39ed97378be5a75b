"""Charts as image files (matplotlib): the sensitivity ranking, and the charts of a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from oq.comparison.layers import LayerError
from oq.errors import MissingExtra
from oq.model.files import replacing
from oq.page.channels import gather_columns
from oq.page.content import Activation, Choice, Weight
from oq.page.histogram import bin_edges
from oq.ranking.rank import Ranking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 40
"""Layers in one chart, worst first."""


def require_matplotlib(wish: str = "--plot") -> None:
    """Check that matplotlib is installed, before any work is done.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra("report", wish, "matplotlib") from error


def draw_ranking(found: Ranking) -> "Figure":
    """Bars of output error power in percent of the signal's, the worst layer on top.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    rows = found.layers[:DRAWN]
    places = range(len(rows))
    figure = _figure(9, 1.5 + 0.25 * len(rows))
    axes = figure.add_subplot()
    sides = (
        ("weights", -0.2, [_percent(r.weights_db) for r in rows]),
        ("inputs", 0.2, [_percent(r.activations_db) for r in rows]),
    )
    for label, shift, values in sides:
        axes.barh([p + shift for p in places], values, height=0.4, label=label)
    axes.set_yticks(list(places), [r.node for r in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("output error with only this quantized, % of signal power")
    axes.set_title(f"{Path(found.model).name} for {found.target}", fontsize=10)
    axes.legend(loc="lower right")
    return figure


def draw_activation(seen: Activation, title: str = "") -> "Figure":
    """The histogram of a tensor on a logarithmic axis, the range of every calibrator below.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = _figure(7, 4.5)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    edges = [low for low, _ in bin_edges(seen)] + [seen.end]
    above.stairs(seen.bins, edges, fill=True)
    above.set_yscale("log", nonpositive="clip")
    above.set_ylabel("values per bin")
    for end in (seen.grid_lo, seen.grid_hi):
        if seen.start <= end <= seen.end:
            above.axvline(end, color="black", linestyle="--", linewidth=1)
    for i, choice in enumerate(seen.choices):
        thick = 4 if choice.calibrator == seen.calibrator else 1.5
        below.plot([choice.lo, choice.hi], [i, i], linewidth=thick, marker="|", color="C0")
    named = [_lane(c) for c in seen.choices]
    below.set_yticks(range(len(named)), named, fontsize=8)
    below.invert_yaxis()
    below.set_xlim(seen.start, seen.end + (seen.end - seen.start) / 50)
    above.set_title(f"{seen.tensor}: {seen.dtype}, scale {seen.scale:g}", fontsize=10)
    figure.suptitle(title, fontsize=9)
    return figure


def draw_weight(weight: Weight, title: str = "") -> "Figure":
    """The range of every output channel, over the range that its scale covers.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = _figure(7, 3.5)
    axes = figure.add_subplot()
    columns = list(gather_columns(weight))
    places = range(len(columns))
    for label, color, low, high in (
        ("range of the scale", "0.85", "grid_lo", "grid_hi"),
        ("weights", "C0", "lo", "hi"),
    ):
        bottom = [getattr(c, low) for c in columns]
        height = [getattr(c, high) - getattr(c, low) for c in columns]
        axes.bar(places, height, bottom=bottom, color=color, label=label)
    each = -(-len(weight.lo) // len(columns))
    axes.set_xlabel("output channel" if each == 1 else f"output channels, {each} per bar")
    axes.set_title(f"{weight.tensor}: {weight.dtype}", fontsize=10, loc="right")
    figure.suptitle(title, fontsize=9)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return figure


def draw_layer_errors(rows: Sequence[LayerError], title: str = "") -> "Figure":
    """Bars of every tensor's share of the output error in percent, the worst on top.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    shown = [r for r in rows if r.share is not None][:DRAWN]
    figure = _figure(9, 1.5 + 0.2 * len(shown))
    axes = figure.add_subplot()
    axes.barh(range(len(shown)), [r.share or 0.0 for r in shown])
    axes.set_yticks(range(len(shown)), [r.tensor for r in shown], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("share of the output error, %")
    axes.set_title(f"error by tensor, {title}" if title else "error by tensor", fontsize=10)
    return figure


def _lane(choice: Choice) -> str:
    error = "" if choice.sqnr_db is None else f", {choice.sqnr_db:.1f} dB"
    return f"{choice.calibrator}{error}"


def _figure(width: float, height: float) -> "Figure":
    """An empty figure without a window; sizes in inches."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: Path) -> None:
    """``figure`` as .png, .svg or .pdf; equal figures give equal bytes."""
    with replacing(path) as scratch:
        # no date and no random identifiers: same input, same bytes
        kind = path.suffix.lower().removeprefix(".")
        plain = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
        figure.savefig(scratch, format=kind, dpi=150, metadata=plain[kind])


def _percent(decibels: float | None) -> float:
    """Error power over signal power in percent; 0 if nothing is quantized."""
    return 0.0 if decibels is None else float(100 * 10 ** (-decibels / 10))
