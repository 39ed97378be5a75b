"""A run in a notebook: the verdict and the tiles of its page, and the text below."""

import html

from oq.page.content import Evidence, Story
from oq.page.layers import targets_of
from oq.page.overview import draw_overview
from oq.page.story import run_story
from oq.page.tiles import draw_tiles, draw_verdict
from oq.reporting.report import Report

STYLE = """<style>
.oq-run{max-width:60rem;line-height:1.4}
.oq-run p{margin:.4rem 0}
.oq-run .verdict{border-left:.4rem solid #0b66b0;padding:.2rem .7rem}
.oq-run .verdict.fail{border-color:#c2500c}
.oq-run .tiles{display:flex;flex-wrap:wrap;gap:.6rem}
.oq-run .tile{border:1px solid #8792a0;border-radius:.4rem;padding:.4rem .8rem}
.oq-run .tile b{display:block;font-size:1.3em}
.oq-run .tile span{display:block;font-size:.85em;opacity:.8}
.oq-run svg{display:block;max-width:26rem;margin:.6rem 0}
.oq-run .cell{fill:none;stroke:#8792a0}
.oq-run .cell.int8{fill:#0b66b0;stroke:#0b66b0}.oq-run .cell.moved{fill:#cfe3f4;stroke:#0b66b0}
.oq-run .cell.float,.oq-run .cross{stroke:#c2500c}
</style>"""
"""Everything under one class: a notebook's page is not ours."""


def report_html(report: Report, evidence: Evidence | None = None) -> str:
    """``report`` for a notebook; the strip of the network where ``evidence`` has its layers."""
    story = run_story(report, evidence or Evidence(), None)
    text = html.escape(str(report))
    return (
        f'{STYLE}<div class="oq-run">{draw_verdict(story)}{draw_tiles(story)}{_strip(story)}'
        f"<details><summary>the whole report</summary><pre>{text}</pre></details></div>"
    )


def _strip(story: Story) -> str:
    """A cell per layer, without the links of the page."""
    layers = story.evidence.layers
    return draw_overview(layers, [""] * len(targets_of(layers))) if layers else ""
