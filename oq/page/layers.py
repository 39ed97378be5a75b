"""The section of the page about single layers: plan, input histogram and weights of each."""

from collections.abc import Mapping, Sequence

from oq.page.channels import describe_spread, draw_channels
from oq.page.content import Activation, Evidence, Layer, Story, Weight
from oq.page.histogram import draw_histogram
from oq.page.html import card, paragraph
from oq.page.neighbours import draw_neighbours
from oq.page.overview import cell
from oq.page.svg import escape, many, short


def targets_of(layers: Sequence[Layer]) -> tuple[str, ...]:
    """The anchor of each layer: inside its ``<details>``, so that a link opens it."""
    return tuple(f"layer-{i}" for i in range(len(layers)))


def owners(found: Evidence) -> dict[str, str]:
    """Tensor -> anchor of the layer that computes it, or else of its first reader."""
    where = targets_of(found.layers)
    readers = {e.tensor: where[e.reader] for e in reversed(found.edges) if e.reader >= 0}
    return readers | {e.tensor: where[e.source] for e in found.edges if e.source >= 0}


def draw_layers(story: Story) -> str:
    """A ``<details>`` per layer, in graph order, behind links to those with the largest error; the
    worst is open."""
    found = story.evidence
    if not found.layers:
        return ""
    where = owners(found)
    shares: dict[str, float] = {}
    for row in story.verification.layers if story.verification is not None else ():
        target = where.get(row.tensor, "")
        shares[target] = shares.get(target, 0.0) + (row.share or 0.0)
    targets = targets_of(found.layers)
    shown = [i for i, la in enumerate(found.layers) if la.activations or la.weights] or [0]
    first = max(shown, key=lambda i: (shares.get(targets[i], 0.0), -i))
    pictures = _Pictures(found)
    intro = paragraph(
        "Each layer with the plan around it, the histogram of its input with the range that every "
        "calibrator would choose, and its weights by channel.",
        "soft",
    )
    return (
        intro
        + _worst(found.layers, shares)
        + "".join(
            _layer(i, found, pictures, shares.get(targets[i]), i == first)
            for i in range(len(found.layers))
        )
    )


WORST = 5
"""Layers that are named in front of all."""


def _worst(layers: Sequence[Layer], shares: Mapping[str, float]) -> str:
    """Links to the layers with the largest shares of the error."""
    by_share = sorted(zip(targets_of(layers), layers, strict=True),
                      key=lambda pair: -shares.get(pair[0], 0.0))  # fmt: skip
    rows = [(t, la, shares[t]) for t, la in by_share[:WORST] if shares.get(t, 0.0) > 0]
    if len(rows) < 2:
        return ""
    links = "".join(
        f'<li><a href="#{t}"><span class="path">{escape(la.name)}</span></a> '
        f"{escape('+'.join(la.ops))}, {_share_words(la, share)}</li>"
        for t, la, share in rows
    )
    return f'<p class="soft">The largest shares of the error at the outputs:</p><ol>{links}</ol>'


def _share_words(layer: Layer, share: float) -> str:
    """A float layer has no error of its own: what it hands on is rounded."""
    of = "of the error, in what it hands on" if layer.runs == "float" else "of the error"
    return f"{share:.1f} % {of}"


class _Pictures:
    """Measured tensors and weights by name."""

    def __init__(self, found: Evidence) -> None:
        self.activations = {a.tensor: a for a in found.activations}
        self.weights = {w.tensor: w for w in found.weights}


def _layer(
    number: int, found: Evidence, pictures: _Pictures, share: float | None, shown: bool
) -> str:
    layer, targets = found.layers[number], targets_of(found.layers)
    said = "" if share is None else _bar(layer, share)
    cards = [card("The plan around it", draw_neighbours(number, found, targets), _why(layer))]
    cards += [_activation(pictures.activations[t]) for t in layer.activations]
    cards += [_weight(pictures.weights[t]) for t in layer.weights]
    return (
        f'<details class="layer"{" open" if shown else ""}><summary>'
        f'<svg viewBox="0 0 13 13" aria-hidden="true">{"".join(cell(layer.runs, 0, 0))}</svg>'
        f"<span>{number}</span><strong>{escape('+'.join(layer.ops))}</strong>"
        f'<span class="path">{escape(layer.name)}</span>{said}</summary>'
        f'<div id="{targets[number]}" class="cards">{"".join(cards)}</div></details>'
    )


def _bar(layer: Layer, share: float) -> str:
    """The share of the error as words over a bar of that width."""
    width = f"{min(max(share, 0.0), 100.0):.1f}%"
    fill = f"linear-gradient(to right,var(--wash) {width},transparent {width})"
    return f'<span class="share" style="background:{fill}">{_share_words(layer, share)}</span>'


def _why(layer: Layer) -> str:
    if layer.runs == "float":
        return f"In float: {layer.reason}."
    if layer.runs == "moved":
        return "Data movement, with the scale and zero point of its input."
    return "One fused integer kernel." if len(layer.nodes) > 1 else "An integer kernel."


def _activation(seen: Activation) -> str:
    grid = f"{seen.dtype}, scale {short(seen.scale)}"
    zero = f", zero point {seen.zero_point}" if seen.zero_point else ""
    covered = f"range {short(seen.grid_lo)} to {short(seen.grid_hi)}"
    by = f" by {seen.calibrator}" if seen.calibrator else ""
    return card(
        f"Values of {seen.tensor}",
        draw_histogram(seen),
        f"Calibrated{by}: {grid}{zero}; {covered}. {many(seen.count)} values from "
        f"{short(seen.lo)} to {short(seen.hi)}.",
    )


def _weight(weight: Weight) -> str:
    several = len(weight.grid_lo) > 1
    grids = "a scale per channel" if several else "one scale for all channels"
    return card(
        f"Weights of {weight.tensor}",
        draw_channels(weight),
        f"{weight.dtype}, {grids}. {len(weight.lo)} channels: {describe_spread(weight)}.",
    )
