"""The documentation as a site: it builds without a warning, and nothing is missing from it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import oq

pytest.importorskip("mkdocs")
pytest.importorskip("material")

ROOT = Path(oq.__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr  # a link or an anchor that leads nowhere
    return folder


def test_every_page_is_in_the_menu(site: Path) -> None:
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert pages <= listed
    for page in pages - {"README.md"}:
        assert (site / page).with_suffix("").joinpath("index.html").is_file(), page


def test_files_outside_of_docs_come_along(site: Path) -> None:
    start = (site / "repository" / "index.html").read_text(encoding="utf-8")
    assert 'href="../commands/quantize/"' in start  # README's docs/commands/quantize.md
    ci = (site / "ci" / "index.html").read_text(encoding="utf-8")
    assert 'href="../repository/examples/ci_budget.sh"' in ci
    assert (site / "repository" / "examples" / "ci_budget.sh").read_bytes() == (
        ROOT / "examples" / "ci_budget.sh"
    ).read_bytes()


def test_no_fence_shows_as_text(site: Path) -> None:
    for page in site.rglob("index.html"):
        assert "```" not in page.read_text(encoding="utf-8"), page


def test_the_version_to_cite_is_this_one() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == oq.__version__


def test_the_forms_for_issues_are_valid() -> None:
    for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        for part in form.get("body", ()):
            assert part["type"] == "textarea" and part["attributes"]["label"], path
