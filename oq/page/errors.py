"""The section of the page about errors: at the outputs, by tensor, and the sensitivity ranking."""

import math

from oq.page.bars import Bar, draw_bars
from oq.page.content import Story
from oq.page.error_path import draw_error_path
from oq.page.html import card, fold, items, section, table
from oq.page.layers import owners, targets_of
from oq.page.svg import short
from oq.ranking.rank import Ranking, Sensitivity

LISTED = 10
"""Bars in one chart."""


def draw_errors(story: Story) -> str:
    """All error charts for which there are measurements."""
    cards = "".join((_shares(story), _course(story), _ranking(story)))
    pictures = f'<div class="cards">{cards}</div>' if cards else ""
    return section("errors", "Quantization error", _outputs(story), pictures, _rows(story))


def _outputs(story: Story) -> str:
    found = story.verification
    if found is None:
        return ""
    rows = []
    for i, deployed in enumerate(found.deployed.outputs):
        for name, error in ((found.engine, deployed), ("literal Q/DQ", found.literal.outputs[i])):
            rows.append(
                (
                    error.name,
                    name,
                    short(error.sqnr_db),
                    short(error.max_abs),
                    short(error.mean_abs),
                    f"{error.cosine:.5f}",
                )
            )
    rows += [(s.metric, s.reading, short(s.value, 4), "", "", "") for s in found.scores]
    head = ("output", "computed by", "SQNR dB", "max error", "mean error", "cosine")
    return table(head, rows, (2, 3, 4, 5))


def _shares(story: Story) -> str:
    found = story.verification
    rows = [r for r in found.layers if r.share] if found is not None else []
    if not rows:
        return ""
    where = owners(story.evidence)
    bars = [
        Bar(
            r.tensor,
            ((r.share or 0.0, "bars", f"{r.share or 0.0:.1f} %"),),
            where.get(r.tensor, ""),
            f"{r.tensor}: {r.share or 0.0:.1f} % of the output error, SQNR {short(r.sqnr_db)} dB",
        )
        for r in rows[:LISTED]
    ]
    more = f" The first {LISTED} of {len(rows)} tensors." if len(rows) > LISTED else ""
    return card(
        "Share of the output error, by tensor",
        draw_bars(bars, "Share of the output error by tensor"),
        "The contribution of each tensor's layer to the error at the outputs." + more,
    )


def _course(story: Story) -> str:
    found = story.verification
    if found is None or not found.layers:
        return ""
    place = {t: i for i, t in enumerate(story.evidence.order)}
    rows = sorted(found.layers, key=lambda r: (place.get(r.tensor, len(place)), r.tensor))
    return card(
        "SQNR through the network",
        draw_error_path(rows),
        "Signal to quantization noise ratio of every tensor against the float model; higher is "
        "better.",
    )


def _ranking(story: Story) -> str:
    found = story.ranking
    if found is None or not found.layers:
        return ""
    where = {la.name: t for la, t in zip(
        story.evidence.layers, targets_of(story.evidence.layers), strict=True
    )}  # fmt: skip
    bars = [
        Bar(row.node, tuple(_sides(row)), where.get(row.node, ""), _words(row))
        for row in found.layers[:LISTED]
    ]
    return card(
        "Sensitivity: error with only this layer quantized",
        draw_bars(bars, "Error at the outputs with only one layer quantized"),
        "Error power at the outputs in percent of signal power. " + _advice(found),
        fold("layers", items(found.keep)),
    )


def _sides(row: Sensitivity) -> list[tuple[float, str, str]]:
    sides = ((row.weights_db, "bars", "weights"), (row.activations_db, "second", "inputs"))
    found = []
    for decibels, kind, name in sides:
        if decibels is not None:
            percent = 100 * 10 ** (-decibels / 10)
            found.append((percent, kind, f"{short(percent, 2)} % {name}"))
    return found


def _words(row: Sensitivity) -> str:
    return (
        f"{row.node}: {row.share:.1f} % of the total error, SQNR {short(row.sqnr_db)} dB with only "
        "this layer quantized"
    )


def _advice(found: Ranking) -> str:
    if not found.kept:
        return "Keeping layers in float would not help."
    last = found.kept[-1]
    return (
        f"Keeping {len(found.keep)} of {len(found.layers)} layers in float raises the SQNR from "
        f"{short(found.sqnr_db)} to {short(last.sqnr_db)} dB (measured by oq sensitivity)."
    )


def _rows(story: Story) -> str:
    found = story.verification
    if found is None:
        return ""
    rows = [
        (
            r.tensor,
            "n/a" if r.share is None else f"{r.share:.1f}",
            short(r.sqnr_db),
            "" if r.added_db is None else short(r.added_db),
            f"{r.cosine:.5f}",
            "" if r.clipped is None or math.isnan(r.clipped) else f"{r.clipped:.2f}",
            f"{short(r.lo)} to {short(r.hi)}",
        )
        for r in found.layers
    ]
    head = ("tensor", "share %", "SQNR dB", "added dB", "cosine", "clipped %", "values")
    return fold(f"All {len(rows)} tensors as a table", table(head, rows, range(1, 6)))
