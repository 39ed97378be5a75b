"""Lines for GitHub and JUnit files, read back by other parsers."""

import re
import xml.etree.ElementTree as ET

from oq.planning.check import Finding
from oq.reporting.annotations import finding_cases, github_lines, junit_lines, verdict_case
from oq.reporting.verdict import Verdict

FINDINGS = (
    Finding("relu-grid", "warning", "a,b:c", "50 % of <it>", "use & see"),
    Finding("no-uint8", "error", "n", 'two\nlines "quoted"', "use int8"),
)


def unescaped(text: str) -> str:
    return re.sub("%([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), text)


def test_a_command_of_github_is_one_line_and_keeps_its_words() -> None:
    lines = list(github_lines("m:1.onnx", finding_cases(FINDINGS)))
    assert all("\n" not in line for line in lines)
    command = re.fullmatch(r"::(\w+) file=([^,:]+),title=([^,:]+)::(.*)", lines[0])
    assert command is not None
    assert [unescaped(g) for g in command.groups()] == [
        "warning", "m:1.onnx", "oq: relu-grid: a,b:c", "50 % of <it>; use & see",
    ]  # fmt: skip
    assert lines[1].startswith("::error ") and 'two%0Alines "quoted"' in lines[1]


def test_junit_counts_errors_as_failures() -> None:
    suite = ET.fromstring("\n".join(junit_lines("oq", "m.onnx", finding_cases(FINDINGS))))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    warned, failed = suite
    assert warned.find("failure") is None and failed.get("classname") == "m.onnx"
    failure = failed.find("failure")
    assert failure is not None and 'lines "quoted"; use int8' in failure.get("message", "")


def test_a_check_without_findings_and_a_verdict_are_one_case() -> None:
    assert [c.severity for c in finding_cases(())] == ["notice"]
    for passed, severity in ((True, "notice"), (False, "error")):
        case = verdict_case(Verdict(passed, None, None, None, "why"))
        assert (case.severity, case.message) == (severity, f"{'PASS' if passed else 'FAIL'} why")
