"""Names to objects: unknown ones list what there is, installed packages add theirs."""

import importlib
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

import oq
from oq.calibrators.minmax import MinMax
from oq.errors import OptionError
from oq.numerics.calibrator import ErrorGains
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import UINT8, QType, Range
from oq.planning import registry
from tests.damaged import X, damaged


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(OptionError, match=r"^no target 'tensorrt'; available: .*ort, .*trt"):
        registry.target("tensorrt")
    with pytest.raises(OptionError, match=r"^no calibrator 'mx'; available: .*minmax"):
        registry.calibrator("mx")


@pytest.mark.parametrize("name", ["", "__init__", "../trt", "trt.", "oq.targets.trt", "TRT"])
def test_only_names_in_the_list_are_imported(name: str) -> None:
    with pytest.raises(OptionError, match=r"^no target "):
        registry.target(name)


def test_a_setting_the_calibrator_has_not() -> None:
    with pytest.raises(OptionError, match=r"'minmax' has no setting 'keep'; it has none$"):
        registry.calibrator("minmax", {"keep": 99})


@dataclass(frozen=True, slots=True)
class Half:
    """Half of the widest range, or what is asked for."""

    share: float = 0.5
    quietly: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; expected above 0 and at most 1")

    needs: ClassVar[frozenset[Need]] = frozenset()

    def range(self, statistics: Statistics, qtype: QType, readers: ErrorGains) -> Range:
        return MinMax().range(statistics, qtype, readers)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two installed entry points, one of them under the name of a file."""
    installed = {
        "oq.calibrators": [("half", "tests_plugin:Half")],
        "oq.targets": [("mine", "tests_plugin:TARGET"), ("broken", "tests_plugin:Half")],
    }

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for name, value in installed.get(group, ())]

    module: Any = type(importlib)("tests_plugin")
    module.Half, module.TARGET = Half, registry.target("trt")
    monkeypatch.setitem(importlib.import_module("sys").modules, "tests_plugin", module)
    monkeypatch.setattr(registry, "entry_points", entry_points)


@pytest.mark.usefixtures("plugins")
def test_entry_points_are_found_and_listed() -> None:
    assert registry.target("mine") is registry.target("trt")
    assert {"mine", "trt", "ort"} <= set(registry.names("targets"))
    half: object = registry.calibrator("half", {"share": 0.25})
    assert half == Half(0.25)
    assert (
        registry.summary("calibrators", "half") == "Half of the widest range, or what is asked for."
    )
    with pytest.raises(OptionError, match=r"available: .*half, .*minmax"):
        registry.calibrator("other")


@pytest.mark.usefixtures("plugins")
def test_settings_are_fields_and_refused_by_the_calibrator_itself() -> None:
    with pytest.raises(OptionError, match=r"'half' has no setting 'keep'; it has: share, quietly"):
        registry.calibrator("half", {"keep": 1})
    with pytest.raises(OptionError, match=r"^calibrator 'half': share is 2; expected above 0"):
        registry.calibrator("half", {"share": 2})
    with pytest.raises(OptionError, match=r"^calibrator 'half': "):
        registry.calibrator("half", {"share": "much"})


@pytest.mark.usefixtures("plugins")
def test_an_entry_point_that_is_no_target_is_the_plugins_bug() -> None:
    with pytest.raises(TypeError, match="not a Target"):
        registry.target("broken")


def test_summaries() -> None:
    assert registry.summary("targets", "trt") == registry.target("trt").summary
    assert registry.summary("calibrators", "minmax").startswith("Minimum and maximum: exact")


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

from oq.numerics.calibrator import ErrorGains, covering
from oq.numerics.values import UINT8, QType, Range
from oq.numerics.statistics import Need, Statistics


@dataclass(frozen=True, slots=True)
class Times:
    \"\"\"The widest range, times what is asked for.\"\"\"

    factor: float = 1.0
    needs: ClassVar[frozenset[Need]] = frozenset()

    def range(self, statistics: Statistics, qtype: QType, readers: ErrorGains) -> Range:
        return covering(self.factor * statistics.lo, self.factor * statistics.hi)


CALIBRATOR = Times
"""


@pytest.fixture
def nothing_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", {"targets": {}, "calibrators": {}})


@pytest.mark.usefixtures("nothing_added")
def test_a_plugin_file_is_a_calibrator_with_settings(tmp_path: Path) -> None:
    (tmp_path / "times.py").write_text(PLUGIN)
    registry.load_plugin(tmp_path / "times.py")
    found = registry.calibrator("times", {"factor": 0.5})
    seen = Statistics(2, 0, -4.0, 2.0)
    assert float(found.range(seen, UINT8, ErrorGains()).lo) == -2.0
    assert "times" in registry.names("calibrators")
    assert registry.summary("calibrators", "times").startswith("The widest range, times")


@pytest.mark.usefixtures("nothing_added")
def test_plugins_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected a Python file"):
        registry.load_plugin(tmp_path / "none.py")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(OptionError, match="defines neither TARGET nor CALIBRATOR"):
        registry.load_plugin(tmp_path / "empty.py")
    (tmp_path / "minmax.py").write_text(PLUGIN)
    with pytest.raises(OptionError, match="oq has a calibrator 'minmax' of its own"):
        registry.load_plugin(tmp_path / "minmax.py")


@pytest.mark.usefixtures("nothing_added")
def test_a_decorated_class_is_a_calibrator() -> None:
    assert registry.register("halved")(Half) is Half
    made: object = registry.calibrator("halved", {"share": 0.5})
    assert made == Half(0.5)


@pytest.mark.usefixtures("nothing_added")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("CALIBRATOR = 3", "CALIBRATOR is int; expected a class with @dataclass(frozen=True)"),
        (
            "class A: ...\nCALIBRATOR = A",
            "CALIBRATOR is A; expected a class with @dataclass(frozen=True)",
        ),
        (PLUGIN.replace("def range", "def ranges"), "Times has no method range(statistics, qtype"),
        (
            PLUGIN.replace("frozenset()", "('histogram',)"),
            "Times.needs is ('histogram',)",
        ),
        ("TARGET = 'trt'", "TARGET is str, which is not an oq.plugin.Target"),
        ("import nothing_of_that_name", "raised ModuleNotFoundError: No module named"),
        ("def broken(:", "raised SyntaxError: "),
    ],
)
def test_a_plugin_that_breaks_its_contract_is_refused_in_one_line(
    tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(OptionError) as caught:
        registry.load_plugin(tmp_path / "bad.py")
    assert why in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("nothing_added")
def test_needs_may_be_left_out(tmp_path: Path) -> None:
    text = PLUGIN.replace("    needs: ClassVar[frozenset[Need]] = frozenset()\n", "")
    (tmp_path / "wide.py").write_text(text)
    registry.load_plugin(tmp_path / "wide.py")
    half = oq.quantize(damaged(), "ort", {"x": X}, calibrator="wide", settings={"factor": 2.0},
                       refine="none", verify=False)  # fmt: skip
    plain = oq.quantize(damaged(), "ort", {"x": X}, calibrator="minmax", refine="none",
                        verify=False)  # fmt: skip
    assert float(half.ranges["x"].lo) == pytest.approx(2 * float(plain.ranges["x"].lo), rel=0.02)
