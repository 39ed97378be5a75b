"""The page: one file, readable without network or script, whatever a model's names hold."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import oq
from oq.comparison.compare import Latency
from oq.comparison.deviation import Classification
from oq.errors import OptionError
from oq.page.content import Story
from oq.page.document import write_page
from oq.page.evidence import names_of
from oq.page.layers import targets_of
from oq.page.read_report import read_pictures
from oq.page.story import run_story
from oq.page.tiles import draw_tiles
from oq.page.write import want_page
from oq.planning import registry
from oq.planning.overrides import Layer
from oq.ranking.table import read_ranking, write_table
from oq.refine.outcome import Outcome
from oq.reporting.notes import speed_advice
from oq.wording import to_json
from tests.graphs import IMAGE, Net
from tests.ranking.test_table import FOUND

X = np.random.default_rng(0).normal(size=(32, 4, 8, 8)).astype(np.float32)
NASTY = "<script>alert(1)</script>&\"'\x01\u2028]]>"
VOID = {"meta", "br", "hr", "img", "link", "input"}


def network(name: str = "") -> onnx.ModelProto:
    """Conv, Relu, Conv, a skip, and a Sin that no target has a row for."""
    net = Net()
    first = net.node("Relu", [net.conv(net.input("x", IMAGE), f"c{name}")], f"r{name}")
    second = net.conv(first, "d")
    net.node("Sin", [net.node("Add", [second, first], "a")], "s")
    return net.model("s")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return run(network(), tmp_path_factory.mktemp("page"))


def run(model: onnx.ModelProto, folder: Path, target: str = "ort") -> Story:
    result = oq.quantize(model, target, X, report=folder / "r.html")
    assert result.page is not None
    # what a clock says is not the same twice
    seen = result.report.verification
    assert seen is not None
    slow = set(speed_advice(seen, registry.target(target).options or ()))
    same = replace(
        result.report,
        verification=replace(seen, latency=None),
        refinement=(),
        notes=tuple(w for w in result.report.notes if w not in slow),
    )
    told = run_story(same, result.page.evidence, None)
    return replace(told, seconds={"load": 0.5}, options={})


class Reader(HTMLParser):
    """Tags, their nesting, links, identifiers and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.links += [v for k, v in attrs if k in ("href", "src") and v is not None]
        if found.get("id"):
            self.ids.append(str(found["id"]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def drawings(page: str) -> Iterator[ET.Element]:
    for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        yield ET.fromstring(text)


def labels(page: str) -> list[str]:
    return [d.attrib["aria-label"] for d in drawings(page) if "aria-label" in d.attrib]


def test_the_page_is_well_formed_and_links_lead_somewhere(story: Story) -> None:
    reader = Reader(write_page(story))
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert {v.removeprefix("#") for v in reader.links} <= set(reader.ids)
    assert set(targets_of(story.evidence.layers)) <= set(reader.ids)


def test_it_needs_no_network_and_runs_no_script(story: Story) -> None:
    page = write_page(story)
    reader = Reader(page)
    assert all(link.startswith("#") for link in reader.links)
    without_names = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(|//cdn", without_names.split("<script")[0])
    assert re.findall(r"<script[^>]*>", page) == ['<script type="application/json" id="story">']
    assert not re.search(r"<[^>]+\son\w+=", page), "no handlers"
    assert "default-src &#x27;none&#x27;" in page


def test_it_says_what_the_report_says(story: Story) -> None:
    page = write_page(story)
    text = " ".join(Reader(page).words)
    assert "2 of 2" in text and "n_s" in text
    assert "Sin" in text and story.left[0][1] in text, "what stays in float, and why"
    seen = story.verification
    assert seen is not None and f"{seen.literal.outputs[0].sqnr_db:.3g} dB" in text
    found = labels(page)
    histograms = {t for t in found if t.startswith("Histogram of")}
    assert len(histograms) == len(story.evidence.activations) > 2
    assert sum(t.startswith("Weights of 4 output channels") for t in found) == 2
    assert sum(", fed by " in t for t in found) == len(story.evidence.layers)
    assert any(t.startswith("Share of the output error") for t in found)
    assert any(t.startswith("SQNR of") for t in found)
    for calibrator in ("minmax", "percentile", "entropy", "mse", "auto", "moving_average"):
        assert any(f"; {calibrator}: " in t for t in found), calibrator


def test_every_drawing_is_xml_on_its_own(story: Story) -> None:
    found = list(drawings(write_page(story)))
    assert len(found) > 10
    for drawing in found:
        for element in drawing.iter():
            for value in element.attrib.values():
                assert "nan" not in value and "inf" not in value.split(), value


def test_equal_runs_give_equal_pages(story: Story, tmp_path: Path) -> None:
    assert write_page(story) == write_page(run(network(), tmp_path))


@pytest.mark.parametrize("target", ["ort", "trt", "coreml", "dpu"])
def test_names_from_the_model_are_text(tmp_path: Path, target: str) -> None:
    story = run(network(NASTY), tmp_path, target)
    page = write_page(story)
    reader = Reader(page)
    assert reader.open == [] and reader.tags.count("script") == 1
    assert list(drawings(page))
    assert "<script>alert" not in page.split('id="story">')[0]
    assert any("<script>alert(1)</script>" in w for w in reader.words), "shown, as text"
    held = page.split('id="story">')[1].split("</script>")[0]
    assert json.loads(held) == json.loads(json.dumps(to_json(story)))


def test_the_page_and_the_json_hold_the_same(tmp_path: Path) -> None:
    result = oq.quantize(network(), "trt", X, report=tmp_path / "r.html")
    result.save(tmp_path / "m.onnx")
    again = oq.quantize(network(), "trt", X, report=str(tmp_path / "r.json"))
    again.save(tmp_path / "m.onnx")
    first, second = (read_pictures(tmp_path / f"r.{k}") for k in ("html", "json"))
    assert first == second
    assert first.activations and first.weights and first.layers
    assert result.page is not None
    assert tuple(first.activations.values()) == result.page.evidence.activations
    assert tuple(first.weights.values()) == result.page.evidence.weights


def test_the_report_changes_nothing_of_the_model(tmp_path: Path) -> None:
    plain = oq.quantize(network(), "ort", X)
    told = oq.quantize(network(), "ort", X, report=tmp_path / "r.html")
    for model in (plain.model, told.model):  # statistics with pictures have another fingerprint
        del model.metadata_props[:]
    assert plain.model.SerializeToString() == told.model.SerializeToString()
    assert plain.page is None
    assert not (tmp_path / "r.html").exists(), "written with the model"
    told.save(tmp_path / "m.onnx")
    assert (tmp_path / "r.html").stat().st_size > 10_000


def test_a_ranking_is_drawn(story: Story, tmp_path: Path) -> None:
    write_table(FOUND, tmp_path / "rank.json")
    assert to_json(read_ranking(tmp_path / "rank.json")) == to_json(FOUND)
    page = write_page(replace(story, ranking=FOUND))
    text = " ".join(Reader(page).words)
    assert "Sensitivity" in text and "conv[1]" in text
    assert "Keeping 1 of 3 layers in float raises the SQNR from 9 to 19 dB" in text
    assert "10 % weights" in text, "10 dB"


def test_a_search_writes_one_page_and_tells_of_its_budget(tmp_path: Path) -> None:
    net = Net()
    net.gemm(net.input("x", ("n", 4)), "scores")
    data = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    page = tmp_path / "r.html"
    found = oq.search(
        net.model("scores"), "ort", data, tmp_path / "m.onnx", max_drop=100, report=page
    )
    assert found.report.search is not None and found.report.search.met
    text = " ".join(Reader(page.read_text(encoding="utf-8")).words)
    assert "budget met: " in text and ", limit 100.00, with 0 layers kept in float for it" in text
    assert found.report.verification is not None and found.report.verification.layers


def test_pictures_are_of_the_values_that_the_grids_are_for(tmp_path: Path) -> None:
    """Equalization moves scales between layers: what was measured first is not what runs."""
    net = Net()
    first = net.node("Relu", [net.conv(net.input("x", IMAGE), "c")], "r")
    net.constants["w_c"][0] *= 50
    net.conv(first, "d")
    model = net.model("d")
    layers = (Layer("Conv", per_channel=False),)
    result = oq.quantize(
        model, "ort", X, layers=layers, refine="equalize", report=tmp_path / "r.html"
    )
    (outcome,) = result.report.refinement
    assert outcome.kept and result.page is not None
    (seen,) = [a for a in result.page.evidence.activations if a.tensor == "r"]
    assert seen.grid_hi == pytest.approx(seen.hi, rel=0.02), "minmax covers what was measured"


def test_without_data_there_is_a_page_all_the_same(tmp_path: Path) -> None:
    first = oq.quantize(network(), "ort", X, cache=tmp_path / "c", report=tmp_path / "a.html")
    first.save(tmp_path / "m.onnx")
    later = oq.quantize(network(), "ort", cache=tmp_path / "c", report=tmp_path / "b.html")
    later.save(tmp_path / "m.onnx")
    page = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "Histogram of" in page and "<span>output SQNR</span>" not in page
    assert Reader(page).open == []


@pytest.mark.parametrize("target", ["ort", "trt", "coreml", "dpu"])
def test_a_file_is_told_of_as_its_run_was(tmp_path: Path, target: str) -> None:
    """The page of ``verify`` reads from the file what that of ``quantize`` knows from the plan."""
    onnx.save(network(), tmp_path / "m.onnx")
    result = oq.quantize(tmp_path / "m.onnx", target, X, refine="none", report=tmp_path / "q.json")
    result.save(tmp_path / "q.onnx")
    page = tmp_path / "v.json"
    oq.verify(tmp_path / "m.onnx", tmp_path / "q.onnx", X, latency=False, report=page)
    run_page, file_page = (json.loads((tmp_path / f"{k}.json").read_text()) for k in "qv")
    ran, read = run_page["evidence"], file_page["evidence"]
    assert ran["order"] == read["order"] == list(names_of(network()))
    assert file_page["target"] == target and file_page["weighted"] == run_page["weighted"]
    one = {a["tensor"]: a for a in ran["activations"]}
    other = {a["tensor"]: a for a in read["activations"]}
    assert set(other) <= set(one) and len(other) >= 2
    for name, seen in other.items():
        assert seen["scale"] == one[name]["scale"] and seen["grid_lo"] == one[name]["grid_lo"]
        assert seen["count"] == X.size and one[name]["count"] == X.size * 7 // 8
    weights = [sorted(map(str, (w["grid_hi"] for w in e["weights"]))) for e in (ran, read)]
    assert weights[0] == weights[1]
    assert Reader(write_page(run(network(), tmp_path, target))).open == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "target"), [("transformer", "ort"), ("residual", "trt"), ("separable", "dpu")]
)
def test_pages_of_trained_models(tmp_path: Path, name: str, target: str) -> None:
    bundled = Path(oq.__file__).parents[1] / "models" / "bundled"
    given = (bundled / f"{name}.onnx", bundled / "digits_calib.npz")
    result = oq.quantize(given[0], target, given[1], samples=32, report=tmp_path / "q.html")
    result.save(tmp_path / "q.onnx")
    oq.verify(given[0], tmp_path / "q.onnx", given[1], samples=16, report=tmp_path / "v.html")
    for kind in "qv":
        page = (tmp_path / f"{kind}.html").read_text(encoding="utf-8")
        reader = Reader(page)
        assert reader.open == []
        assert {v.removeprefix("#") for v in reader.links} <= set(reader.ids)
        found = labels(page)
        assert sum(t.startswith("Histogram of") for t in found) >= 5
        assert sum(t.startswith("Weights of") for t in found) >= 5
        assert list(drawings(page))


@pytest.mark.parametrize(
    ("report", "ranking", "message"),
    [
        ("r.pdf", None, r"--report 'r.pdf': expected .html or .json"),
        ("none/r.html", None, "folder 'none' does not exist"),
        (None, "s.json", "--ranking is shown on a page: give --report as well"),
        ("r.html", "none.json", "--ranking 'none.json': No such file"),
        ("r.html", "bad.json", "--ranking 'bad.json' is not a ranking"),
        ("r.html", "list.json", "--ranking 'list.json' is not a ranking"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    report: str | None,
    ranking: str | None,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text("{")
    Path("list.json").write_text('{"layers": [1]}')
    with pytest.raises(OptionError, match=message):
        want_page(report, ranking)
    with pytest.raises(OptionError, match=message):
        oq.quantize(network(), "ort", X, report=report, ranking=ranking)


def test_tiles_are_of_one_mode_and_say_on_how_many_samples(story: Story) -> None:
    seen = story.verification
    assert seen is not None
    votes = Classification("s", 4, 75.0, 100.0, 80.0, 81.0)
    outputs = tuple(replace(o, sqnr_db=12.3) for o in seen.literal.outputs)
    literal = replace(seen.literal, classes=(votes,), outputs=outputs)
    time = Latency(8, 2.0, 4.0, 2.0, 1.9, 2.1)
    there = replace(seen, literal=literal, latency=time)
    words = {}
    for mode in ("deployed", "literal"):
        told = replace(story, verification=replace(there, mode=mode))
        words[mode] = " ".join(Reader(draw_tiles(told)).words)
    assert "12.3 dB" in words["literal"] and "12.3 dB" not in words["deployed"]
    assert "+1.00 80.00 % \u2192 81.00 % on 4 samples" in words["literal"]
    assert "literal Q/DQ, 4 samples" in words["literal"] and "latency" not in words["literal"]
    assert "2.0\u00d7 slower than float: 2.00 \u2192 4.00 ms" in words["deployed"]


@pytest.mark.parametrize(("passed", "said"), [(True, "PASS"), (False, "FAIL")])
def test_the_verdict_comes_first(story: Story, passed: bool, said: str) -> None:
    summary = {**story.summary, "passed": passed, "reason": "top-1 fell 0.30 points (limit 1.00)"}
    page = write_page(replace(story, summary=summary))
    words = " ".join(" ".join(Reader(page).words).split())
    verdict = f"{said} ort: top-1 fell 0.30 points (limit 1.00), 4 samples"
    assert 0 < words.index(verdict) < words.index("layers with weights")


def test_what_matters_stands_above_the_layers(story: Story) -> None:
    outcome = Outcome("bias", True, 20.0, 25.0, 0.1, "2 layers corrected")
    notes = ("CALIBRATED ON RANDOM NUMBERS: the ranges mean nothing", "one", "two")
    told = replace(story, refinement=(outcome,), notes=notes, next_steps=("trtexec",))
    text = " ".join(" ".join(Reader(write_page(told)).words).split())
    order = ["Warning CALIBRATED ON RANDOM", "output SQNR", "2 notes one two",
             "output SQNR 20 to 25 dB, kept", "trtexec", "Quantization error",
             "Quantized and float layers", "Layer by layer",
             "The largest shares of the error"]  # fmt: skip
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_a_page_names_no_folders_of_its_machine(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "net.onnx")
    np.savez(tmp_path / "calib.npz", x=X)
    page = tmp_path / "r.html"
    oq.quantize(tmp_path / "net.onnx", "ort", str(tmp_path / "calib.npz"), refine="none",
                report=page).save(tmp_path / "o.onnx")  # fmt: skip
    text = page.read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert "samples of calib.npz" in text and onnxruntime.__version__ in text
    assert date.today().isoformat() in text


def test_what_verify_was_told_to_allow_is_on_its_page(tmp_path: Path) -> None:
    model, page = network(), tmp_path / "v.html"
    made = oq.quantize(model, "ort", X, refine="none", verify=False).model
    head = {"x": X[:8], "labels": np.zeros(8, np.int64)}
    oq.verify(model, made, head, max_drop=1.0, report=page, latency=False)
    assert read_story(page)["summary"]["limit"] == 1.0


def read_story(page: Path) -> dict[str, Any]:
    inside = re.search(r'id="story">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert inside is not None
    found: dict[str, Any] = json.loads(inside[1])
    return found
