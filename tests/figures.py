"""The placement of Q/DQ in one residual block, drawn from the plan: the figures of docs/targets.

``python -m tests.figures`` prints them all, to be pasted.
"""

from collections.abc import Iterator
from pathlib import Path

import oq
from oq.pipeline import make_plan
from oq.planning import registry
from oq.planning.explain import describe
from oq.planning.spec import Plan, Site

MODEL = Path(oq.__file__).parents[1] / "models" / "bundled" / "residual.onnx"
NAMES = {
    "node_Conv_126": "Conv 1",
    "node_relu_1": "Relu 1",
    "node_Conv_128": "Conv 2",
    "node_add_40": "Add",
    "node_relu_2": "Relu 2",
}
"""The nodes of the first block, and what the figure calls them."""

BRANCH = (
    ("relu", "node_Conv_126"),
    ("getitem_3", "node_relu_1"),
    ("relu_1", "node_Conv_128"),
    ("getitem_6", "node_add_40"),
    ("add_40", "node_relu_2"),
)
"""Down the branch: the tensor and the node that reads it."""

SKIP = ("relu", "node_add_40")
OUTPUT = "relu_2"
LEFT, RIGHT = 12, 14


def figure(plan: Plan) -> Iterator[str]:
    """The block from top to bottom: the branch on the left, the skip on the right."""
    whole = _pair(plan, *BRANCH[0]), _pair(plan, *SKIP)
    shared = whole[0] is not None and whole[0] == whole[1] and not whole[0].consumers
    yield "input"
    if shared:
        yield from _boxed(whole[0])
        yield f"  |{'-' * (LEFT - 2)}."
    else:
        yield f"  |{'-' * (LEFT - 2)}."
        marks = ["[Q DQ]" if site is not None else "  |" for site in whole]
        yield _line(marks[0], marks[1] if marks[1].strip() != "|" else "|", _told(whole))
    for tensor, node in BRANCH:
        joined = node in {"node_add_40", "node_relu_2"}
        if tensor != "relu" and (site := _pair(plan, tensor, node)) is not None:
            yield _line("[Q DQ]", "" if tensor == "add_40" else "|", _grid(site))
        if node == "node_add_40":
            yield f"  |{'-' * (LEFT - 2)}'"
        notes = _constants(plan, node) or [""]
        for i, note in enumerate(notes):
            yield _line("" if i else NAMES[node], "" if joined else "|", note)
    site = _pair(plan, OUTPUT, None)
    if site is not None:
        yield from _boxed(site)
    yield "output"
    yield ""
    yield from _kernels(plan)


def _boxed(site: Site | None) -> Iterator[str]:
    if site is not None:
        yield _line("[Q DQ]", "", _grid(site))


def _told(sites: tuple[Site | None, Site | None]) -> str:
    found = next((s for s in sites if s is not None), None)
    if found is None:
        return ""
    both = ", one scale for both" if sites[0] == sites[1] else ""
    return _grid(found) + both


def _pair(plan: Plan, tensor: str, node: str | None) -> Site | None:
    """The site that ``node`` reads ``tensor`` through; with None, that of all its readers."""
    for site in plan.sites:
        reads = not site.consumers or node in site.consumers
        if site.tensor == tensor and site.role == "activation" and reads:
            return site
    return None


def _grid(site: Site) -> str:
    return describe(site.spec)


def _constants(plan: Plan, node: str) -> list[str]:
    found = [s for s in plan.sites if s.role != "activation" and node in s.consumers]
    return [f"{s.role} {_kind(s)}" for s in found]


def _kind(site: Site) -> str:
    text = describe(site.spec)
    return text.split(" with ")[0].replace(" of axis 0", "")


def _line(left: str, right: str, note: str) -> str:
    return f"{left:<{LEFT + 1}}{right:<{RIGHT}}{note}".rstrip()


def _kernels(plan: Plan) -> Iterator[str]:
    for group in plan.groups:
        inside = [NAMES[n] for n in group.nodes if n in NAMES]
        if inside:
            yield f"kernel: {' + '.join(inside)}"


if __name__ == "__main__":
    for name in registry.names("targets"):
        print(f"\n{name}\n")
        print("\n".join(figure(make_plan(MODEL, name))))
