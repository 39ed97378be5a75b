"""The report page: a :class:`~oq.page.content.Story` as one HTML file, without network or
script."""

import json
import math
from collections.abc import Iterable

from oq.page.content import Story
from oq.page.errors import draw_errors
from oq.page.html import (
    fold,
    heading,
    items,
    paragraph,
    section,
    table,
)
from oq.page.layers import draw_layers, targets_of
from oq.page.overview import WORDS, cell, draw_overview
from oq.page.story import layer_counts
from oq.page.style import STYLE
from oq.page.svg import escape, short
from oq.page.tiles import draw_tiles, draw_verdict
from oq.refine.outcome import Outcome
from oq.wording import to_json

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Content security policy of the page: nothing is loaded."""


def write_page(story: Story) -> str:
    """The HTML file.  Equal stories give equal bytes."""
    body = (
        _head(story),
        draw_verdict(story),
        _alert(story),
        draw_tiles(story),
        _notes(story),
        _refined(story),
        draw_errors(story),
        _summary(story),
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
    """What must not be overlooked: a collapse, findings, data that mean nothing."""
    collapse = story.verification.collapse if story.verification is not None else ()
    said = [f"The quantized model has collapsed: {text}" for text in collapse]
    said += [f"{f.severity} [{f.check}] {f.node}: {f.message}; {f.remedy}" for f in story.findings]
    said += filter(_is_loud, story.notes)
    inside = items(said)
    return (
        f'<div class="alert" role="note"><strong>Warning</strong>{inside}</div>' if inside else ""
    )


def _is_loud(note: str) -> bool:
    """Whether a note shouts: it begins with a word in capitals."""
    first = note.split(maxsplit=1)[0] if note else ""
    return len(first) > 3 and first.isupper()


def _notes(story: Story) -> str:
    """The other notes, folded where there are several."""
    quiet = [note for note in story.notes if not _is_loud(note)]
    if len(quiet) > 1:
        return f'<div class="note">{fold(f"{len(quiet)} notes", items(quiet))}</div>'
    return f'<div class="note" role="note">{items(quiet)}</div>' if quiet else ""


def _refined(story: Story) -> str:
    """What to do next, and what refinement has gained."""
    steps = "".join(f"<pre><code>{escape(step)}</code></pre>" for step in story.next_steps)
    refined = table(("step", "result", "changes"), [_refinement(o) for o in story.refinement])
    parts = (("Refinement", refined), ("Next", steps))
    return section("refinement", "Refinement and what comes next", _cards(parts))


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
    """Options, times, and where it ran."""
    options = table(
        ("option", "value"), [(k, json.dumps(v)) for k, v in to_json(story.options).items()]
    )
    took = table(("stage", "seconds"), [(k, f"{v:.2f}") for k, v in story.seconds.items()], (1,))
    place = table(("", ""), story.machine.items())
    grid = _cards((("Options", options), ("Time", took), ("Where and when", place)))
    close = paragraph(
        f"oq {story.version}. The data of this page is embedded as JSON "
        "(the element with the id story).",
        "soft",
    )
    return section("run", "The run", grid, close)


def _refinement(outcome: Outcome) -> tuple[str, str, str]:
    if math.isnan(outcome.after_db):
        return outcome.step, outcome.verdict, outcome.note
    gain = f"{outcome.measure} {short(outcome.before_db)} to {short(outcome.after_db)} dB"
    return outcome.step, f"{gain}, {outcome.verdict}", outcome.note
