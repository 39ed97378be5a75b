"""The report page: a :class:`~oq.page.content.Story` as one HTML file, without network or
script."""

import json
import math
from collections.abc import Iterable

from oq.comparison.compare import Verification
from oq.engines.engine import DEFAULT
from oq.page.content import Story
from oq.page.errors import draw_errors
from oq.page.html import (
    fold,
    heading,
    items,
    paragraph,
    section,
    table,
    tile,
)
from oq.page.layers import draw_layers, targets_of
from oq.page.overview import WORDS, cell, draw_overview
from oq.page.story import layer_counts
from oq.page.style import STYLE
from oq.page.svg import escape, many, short
from oq.refine.outcome import Outcome
from oq.wording import to_json

NATIVE = "ort"
"""The target that onnxruntime runs."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Content security policy of the page: nothing is loaded."""


def write_page(story: Story) -> str:
    """The HTML file.  Equal stories give equal bytes."""
    body = (
        _head(story),
        _alert(story),
        _tiles(story),
        _summary(story),
        draw_errors(story),
        section("layers", "Layer by layer", draw_layers(story)),
        _run(story),
    )
    title = f"{story.title}: {story.model}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        f'<meta name="generator" content="oq {escape(story.version)}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>"
        + "\n".join(part for part in body if part)
        + f'</main>\n<script type="application/json" id="story">{plain_json(story)}</script>'
        "</body></html>\n"
    )


def plain_json(story: Story) -> str:
    """The story as JSON that is safe inside HTML: ``<``, ``>`` and ``&`` are escaped."""
    found = json.dumps(to_json(story), separators=(",", ":"))
    for letter in "<>&":
        found = found.replace(letter, f"\\u{ord(letter):04x}")
    return found


def _head(story: Story) -> str:
    arrow = f' \u2192 <span class="path">{escape(story.output)}</span>' if story.output else ""
    said = " \u00b7 ".join(f"{k} {v}" for k, v in story.facts.items())
    return (
        f"<header>{heading(1, story.title)}"
        f'<p><span class="path">{escape(story.model)}</span>{arrow}</p>'
        f"{paragraph(said, 'soft')}</header>"
    )


def _alert(story: Story) -> str:
    """Warnings at the top of the page: a collapse, findings, then notes."""
    collapse = story.verification.collapse if story.verification is not None else ()
    said = [f"The quantized model has collapsed: {text}" for text in collapse]
    said += [f"{f.severity} [{f.check}] {f.node}: {f.message}; {f.remedy}" for f in story.findings]
    boxes = (("alert", "Warning", items(said)), ("note", "Notes", items(story.notes)))
    return "".join(
        f'<div class="{kind}" role="note"><strong>{title}</strong>{inside}</div>'
        for kind, title, inside in boxes
        if inside
    )


def _tiles(story: Story) -> str:
    share = 100 * story.bytes_after / story.bytes_before if story.bytes_before else 0.0
    sizes = f"{_bytes(story.bytes_before)} \u2192 {_bytes(story.bytes_after)}"
    done, total = story.weighted
    found = [tile("size", f"{share:.0f} %", f"of float: {sizes}")]
    found.append(tile("layers with weights", f"{done} of {total}", "in integers"))
    seen = story.verification
    if seen is not None:
        worst = min(seen.literal.outputs, key=lambda e: e.sqnr_db)
        found.append(tile("output SQNR", f"{short(worst.sqnr_db)} dB", f"of {worst.name}"))
        for votes in seen.deployed.classes[:1]:
            agree = f"top-1 agrees with float on {votes.agreement:.1f} %"
            if votes.top1 is not None and votes.top1_float is not None:
                change = votes.top1 - votes.top1_float
                text = f"{votes.top1_float:.2f} % \u2192 {votes.top1:.2f} %"
                found.append(tile("top-1 accuracy, points", _signed(change), f"{text}; {agree}"))
            else:
                said = f"of {votes.unit} have the top-1 of float"
                found.append(tile("agreement", f"{votes.agreement:.1f} %", said))
    aside = ""
    if seen is not None and seen.engine == DEFAULT and story.target != NATIVE:
        aside = paragraph(_stand_in(seen, story.target), "soft")
    elif seen is not None:
        found += _speed(seen)
    return f'<div class="tiles">{"".join(found)}</div>{aside}'


def _stand_in(seen: Verification, target: str) -> str:
    """Kernels and latency, if they were measured in another engine than the target's."""
    kernels, time = seen.kernels, seen.latency
    total = kernels.integer + kernels.floating
    took = (
        ""
        if time is None
        else f", and a batch of {time.batch} takes {time.ratio:.2f} of the float latency"
    )
    return (
        f"In {seen.engine}, {kernels.integer} of {total} {kernels.counted} run in integers{took}. "
        f"These figures do not apply to {target}, which has its own runtime."
    )


def _speed(seen: Verification) -> list[str]:
    """Kernels and latency in the engine that ran the file."""
    kernels, time = seen.kernels, seen.latency
    total = kernels.integer + kernels.floating
    text = f"in integers: {kernels.integer} of {total} {kernels.counted}"
    found = [tile(f"kernels, {seen.engine}", f"{kernels.share:.0f} %", text)]
    if time is not None:
        text = f"{time.float_ms:.2f} \u2192 {time.quantized_ms:.2f} ms per batch of {time.batch}"
        found.append(
            tile(f"latency, {seen.engine}", f"{time.ratio:.2f}\u00d7", f"of float: {text}")
        )
    return found


def _summary(story: Story) -> str:
    """Which layers run in integers, and why the others stay in float."""
    layers = story.evidence.layers
    keys = "".join(
        f'<span class="key"><svg viewBox="0 0 13 13" aria-hidden="true">'
        f"{''.join(cell(kind, 0, 0))}</svg>{escape(words)}</span>"
        for kind, words in WORDS.items()
        if any(la.runs == kind for la in layers)
    )
    strip = draw_overview(layers, targets_of(layers)) if layers else ""
    counts = table(
        ("op", "integers", "moved", "float"),
        [(op, *(str(n or "") for n in row)) for op, row in layer_counts(layers).items()],
        (1, 2, 3),
    )
    left = "".join(
        f"<p><strong>{escape(op)}</strong>: {escape(reason)}</p>"
        + fold(f"{len(nodes)} nodes" if len(nodes) > 1 else "1 node", items(nodes))
        for op, reason, nodes in story.left
    )
    parts = (
        ("The network, layer by layer", strip and f'{strip}<p class="soft">{keys}</p>'),
        ("By op", counts),
        ("Left in float", left),
    )
    return section("plan", "Quantized and float layers", _cards(parts))


def _cards(parts: Iterable[tuple[str, str]]) -> str:
    """Titled boxes; empty ones are left out."""
    found = "".join(
        f'<div class="card">{heading(3, title)}{inside}</div>' for title, inside in parts if inside
    )
    return f'<div class="cards">{found}</div>' if found else ""


def _run(story: Story) -> str:
    """Next steps, refinement, options and times."""
    steps = "".join(f"<pre><code>{escape(step)}</code></pre>" for step in story.next_steps)
    refined = table(("step", "SQNR", "changes"), [_refinement(o) for o in story.refinement])
    options = table(
        ("option", "value"), [(k, json.dumps(v)) for k, v in to_json(story.options).items()]
    )
    took = table(("stage", "seconds"), [(k, f"{v:.2f}") for k, v in story.seconds.items()], (1,))
    grid = _cards((("Refinement", refined), ("Options", options), ("Time", took)))
    close = paragraph(
        f"oq {story.version}. The data of this page is embedded as JSON "
        "(the element with the id story).",
        "soft",
    )
    return section("run", "The run", steps, grid, close)


def _refinement(outcome: Outcome) -> tuple[str, str, str]:
    if math.isnan(outcome.after_db):
        return outcome.step, outcome.verdict, outcome.note
    gain = f"{short(outcome.before_db)} to {short(outcome.after_db)} dB"
    return outcome.step, f"{gain}, {outcome.verdict}", outcome.note


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\u2212")


def _bytes(count: int) -> str:
    return f"{many(count)}B"
