"""The documentation as a site (mkdocs): what the pages link to outside of ``docs/`` comes along.

``mkdocs build`` reads ``mkdocs.yml``.  Pages link to files of the repository (README.md,
examples/...), which a site with ``docs/`` as its root has not: they appear under ``repository/``,
and links to and from them are rewritten.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
UNDER = "repository"
BESIDE = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
LINK = re.compile(r"(\]\()([^)#\s]+)")
FENCE = re.compile(r"^(```\w+) [^\n]+$", re.MULTILINE)
"""With more words than the language: those are for ``tests/test_docs.py``."""


def on_files(files: Any, config: Any) -> Any:
    """Add the files of the repository that pages may link to."""
    examples = sorted(p for p in (ROOT / "examples").iterdir() if p.is_file())
    paths = [*(ROOT / name for name in BESIDE), *examples, ROOT / "LICENSE"]
    for path in paths:
        name = f"{UNDER}/{path.relative_to(ROOT).as_posix()}"
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The page with links that fit the site, and fences that name a language alone."""
    own = str(page.file.src_uri)
    place = repository_path(own)

    def moved(match: re.Match[str]) -> str:
        if "://" in match[2]:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(place), match[2]))
        found = site_path(target)
        return match[1] + posixpath.relpath(found, posixpath.dirname(own) or ".")

    return FENCE.sub(r"\1", LINK.sub(moved, markdown))


def repository_path(site: str) -> str:
    """Where a page of the site lies in the repository."""
    return site.removeprefix(f"{UNDER}/") if site.startswith(f"{UNDER}/") else f"docs/{site}"


def site_path(repository: str) -> str:
    """Where a file of the repository lies in the site."""
    inside = repository.startswith("docs/")
    return repository.removeprefix("docs/") if inside else f"{UNDER}/{repository}"
