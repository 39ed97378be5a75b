"""A requested report page: validated before the run, written after it."""

import json
from dataclasses import dataclass
from pathlib import Path

from oq.errors import OptionError
from oq.model.files import check_writable, write_text
from oq.page.content import Evidence, Story
from oq.page.document import write_page
from oq.page.story import run_story
from oq.ranking.rank import Ranking
from oq.ranking.table import read_ranking
from oq.reporting.report import Report
from oq.wording import to_json

ENDINGS = (".html", ".json")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The path of a page, and the ranking to include."""

    path: Path
    ranking: Ranking | None = None

    def write(self, story: Story) -> None:
        """Write the page as HTML, or its data as ``.json``."""
        if self.path.suffix.lower() == ".html":
            write_text(self.path, write_page(story))
        else:
            write_text(self.path, json.dumps(to_json(story), indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Pending:
    """A page that lacks only the path of the output and the next step."""

    wanted: PageRequest
    evidence: Evidence

    def write(self, report: Report) -> None:
        """Write the page of ``report``."""
        self.wanted.write(run_story(report, self.evidence, self.wanted.ranking))


def want_page(path: str | Path | None, ranking: str | Path | None) -> PageRequest | None:
    """The page at ``path``, with the ranking in the file ``ranking`` (``oq sensitivity -o``).

    Raises:
        OptionError: ``path`` ends otherwise than a page or cannot be written, ``ranking`` is no
            ranking, or is given without a page to show it on.
    """
    if path is None:
        if ranking is not None:
            raise OptionError("--ranking is shown on a page: give --report as well")
        return None
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise OptionError(f"--report {str(path)!r}: expected {' or '.join(ENDINGS)}")
    check_writable(path)
    return PageRequest(path, None if ranking is None else read_ranking(Path(ranking)))
