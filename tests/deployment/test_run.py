"""What ``oq deploy`` refuses before a format is asked, and what it leaves behind."""

from pathlib import Path

import onnx
import pytest

import oq
from oq.deployment import run
from oq.deployment.formats import Format, Given, Made, Proof
from tests.graphs import Net


def write(given: Given, path: Path) -> Made:
    path.write_bytes(given.model.SerializeToString())
    return Made((Proof("bytes", "all equal", True),), next_step="flash {output}")


def spoil(given: Given, path: Path) -> Made:
    path.write_bytes(b"half")
    return Made((Proof("weights", "one code differs in 'w_y'", False),))


def pack(given: Given, path: Path) -> Made:
    path.mkdir()
    (path / "mark").write_text(given.name)
    return Made(())


FORMATS = {
    "plain": Format("plain", "a copy", ".plain", "ort", write),
    "spoilt": Format("spoilt", "a wrong copy", ".plain", "ort", spoil),
    "strict": Format("strict", "a copy by dpu's rules", ".plain", "dpu", write),
    "package": Format("package", "a folder", ".pack", "ort", pack, mark="mark"),
}


@pytest.fixture(autouse=True)
def _formats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_format", FORMATS.__getitem__)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A float model, and its Q/DQ file for ``ort``."""
    net = Net()
    net.conv(net.input("x", (1, 4, 8, 8)), "y")
    plain = tmp_path / "m.onnx"
    onnx.save(net.model("y"), plain)
    made = tmp_path / "m.int8.onnx"
    oq.quantize(plain, "ort", "random", samples=8, refine="none", verify=False).save(made)
    return plain, made


def left(folder: Path) -> set[str]:
    return {f.name for f in folder.iterdir()}


def test_the_file_appears_beside_the_model(files: tuple[Path, Path]) -> None:
    found = oq.deploy(files[1], "plain")
    assert Path(found.output) == files[1].with_name("m.int8.plain")
    assert found.bytes == Path(found.output).stat().st_size
    assert found.next_step == f"flash {found.output}"
    assert "proven" in str(found)


def test_a_file_that_differs_never_appears(files: tuple[Path, Path]) -> None:
    before = left(files[1].parent)
    with pytest.raises(oq.ModelError, match="weights: one code differs in 'w_y'"):
        oq.deploy(files[1], "spoilt")
    assert left(files[1].parent) == before


def test_a_float_model_is_told_what_to_do_first(files: tuple[Path, Path]) -> None:
    with pytest.raises(oq.ModelError, match=r"m.onnx is a float model; oq quantize m.onnx -t ort"):
        oq.deploy(files[0], "plain")


def test_the_first_broken_rule_is_named_with_its_node(files: tuple[Path, Path]) -> None:
    with pytest.raises(oq.ModelError, match=r"made for ort.*\[.*\].*oq quantize FLOAT.onnx -t dpu"):
        oq.deploy(files[1], "strict")


def test_a_package_replaces_a_package_and_nothing_else(files: tuple[Path, Path]) -> None:
    place = files[1].with_name("out.pack")
    for _ in range(2):
        oq.deploy(files[1], "package", place)
        assert left(place) == {"mark"}
    (place / "mark").unlink()
    (place / "thesis.txt").write_text("mine")
    with pytest.raises(oq.OptionError, match="it is a folder without mark; give another name"):
        oq.deploy(files[1], "package", place)
    assert left(place) == {"thesis.txt"}


def test_a_file_does_not_replace_a_folder(files: tuple[Path, Path]) -> None:
    files[1].with_name("out.plain").mkdir()
    with pytest.raises(oq.OptionError, match="it is a folder"):
        oq.deploy(files[1], "plain", files[1].with_name("out.plain"))


def test_the_suffix_is_the_format_s(files: tuple[Path, Path]) -> None:
    with pytest.raises(oq.OptionError, match=r"writes a .plain; give a name that ends so"):
        oq.deploy(files[1], "plain", files[1].with_name("out.onnx"))


def test_a_result_deploys_its_model(files: tuple[Path, Path], tmp_path: Path) -> None:
    result = oq.quantize(files[0], "ort", "random", samples=8, refine="none", verify=False)
    found = result.deploy("plain", tmp_path / "r.plain")
    assert onnx.load(found.output) == result.model
