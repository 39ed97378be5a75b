"""What a check found, as lines for GitHub's log or as a JUnit file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from oq.planning.check import Finding
from oq.reporting.verdict import Verdict

Severity = Literal["error", "warning", "notice"]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was checked; an error fails."""

    name: str
    severity: Severity
    message: str


def verdict_case(verdict: Verdict) -> Case:
    """The verdict of ``oq verify``."""
    return Case("accuracy", "notice" if verdict.passed else "error", str(verdict))


def finding_cases(findings: Iterable[Finding]) -> tuple[Case, ...]:
    """The findings of ``oq check``; one that says so where there is none."""
    found = tuple(
        Case(f"{f.check}: {f.node}", f.severity, f"{f.message}; {f.remedy}") for f in findings
    )
    return found or (Case("check", "notice", "no findings"),)


def github_lines(file: str, cases: Iterable[Case]) -> Iterable[str]:
    """Workflow commands, which GitHub shows beside ``file``.

    Percent signs, line ends and, in properties, colons and commas are escaped as GitHub's toolkit
    does (https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands).
    """
    for case in cases:
        title = _property(f"oq: {case.name}")
        yield f"::{case.severity} file={_property(file)},title={title}::{_data(case.message)}"


def junit_lines(suite: str, file: str, cases: Sequence[Case]) -> Iterable[str]:
    """A JUnit document: one suite, a test case for each of ``cases``."""
    failed = sum(case.severity == "error" for case in cases)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuite name={quoteattr(suite)} tests="{len(cases)}" failures="{failed}">'
    for case in cases:
        yield f"  <testcase classname={quoteattr(file)} name={quoteattr(case.name)}>"
        if case.severity == "error":
            yield f"    <failure message={quoteattr(case.message)}/>"
        else:
            yield f"    <system-out>{escape(case.severity)}: {escape(case.message)}</system-out>"
        yield "  </testcase>"
    yield "</testsuite>"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
