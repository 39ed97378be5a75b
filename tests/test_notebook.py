"""In a notebook: what a run shows, and charts that are figures."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

import oq
from oq.errors import MissingExtra, OptionError
from oq.page.read_report import read_pictures
from tests.damaged import X, damaged
from tests.ranking.test_table import FOUND


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> oq.Result:
    page = tmp_path_factory.mktemp("page") / "r.html"
    made = oq.quantize(damaged(), "ort", {"x": X}, refine="none", report=page)
    made.save(page.with_suffix(".onnx"))
    return made


class Balanced(HTMLParser):
    """Fails where a tag closes another than the last one that was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.kinds: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.kinds += [v for k, v in attrs if k == "class" and v]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.kinds += [v for k, v in attrs if k == "class" and v]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_run_shows_verdict_tiles_strip_and_text(result: oq.Result) -> None:
    seen = Balanced(result._repr_html_())
    assert seen.open == []
    assert {"oq-run", "verdict pass", "tiles", "tile", "cell int8"} <= set(seen.kinds)
    assert "verified on 3 samples" in result._repr_html_() and "<a " not in result._repr_html_()
    styles = result._repr_html_().split("<style>")[1].split("</style>")[0]
    rules = [rule.split("{")[0] for rule in styles.replace("\n", "").split("}") if rule]
    assert all(s.startswith(".oq-run") for rule in rules for s in rule.split(","))
    assert "cell" not in Balanced(result.report._repr_html_()).kinds


@pytest.fixture
def page(result: oq.Result) -> Path:
    assert result.page is not None
    return result.page.wanted.path


def test_a_chart_is_a_figure_of_run_and_file(result: oq.Result, page: Path) -> None:
    pytest.importorskip("matplotlib")
    name = next(iter(read_pictures(page).weights))
    for figure in (result.plot(name), oq.plot(page, name), oq.plot(str(page), name)):
        assert figure.axes[0].get_title(loc="right").startswith(name)
        assert figure.get_suptitle().endswith("for ort")
    errors = oq.plot(result).axes[0]
    assert errors.get_title().startswith("error by tensor, ")
    shares = [row.share for row in read_pictures(page).layers if row.share is not None]
    widths = [bar.get_extents().width for bar in errors.patches]
    ratios = [width / widths[0] for width in widths]
    assert ratios == pytest.approx([share / shares[0] for share in shares], abs=0.02)
    assert oq.plot(FOUND).axes[0].get_title() == f"{Path(FOUND.model).name} for {FOUND.target}"


def test_what_there_is_instead_is_named(result: oq.Result, page: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(OptionError, match=r"the run has no picture 'w_bb'; it has errors, 'w_b"):
        result.plot("w_bb")
    plain = oq.quantize(damaged(), "ort", {"x": X}, refine="none")
    with pytest.raises(
        OptionError, match=r"^a run without report= has no picture 'x'; it has none"
    ):
        plain.plot("x")
    model = damaged()
    compared = oq.verify(model, result.model, {"x": X}, per_layer=True, latency=False)
    assert oq.plot(compared).axes


def test_without_matplotlib(result: oq.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"oq plot needs matplotlib"):
        result.plot()


def test_the_page_still_holds_plain_json(page: Path) -> None:
    inside = page.read_text(encoding="utf-8").split('id="story">')[1].split("</script>")[0]
    assert json.loads(inside)["schema"] == 1


def test_what_a_file_holds_is_a_line_and_a_screen(result: oq.Result) -> None:
    assert result.page is not None
    held = oq.inspect(result.page.wanted.path.with_suffix(".onnx"))
    assert repr(held).startswith("<Contents onnx: ") and len(repr(held)) < 100
    assert str(held).startswith("file        onnx, ") and "\nweights " in str(held)
