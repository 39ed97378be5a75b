"""What is written is read back, and only by the search it belongs to."""

import math
from pathlib import Path

import pytest

from oq.budget.journal import open_journal
from oq.budget.strategy import Ranked
from oq.budget.trial import Trial
from oq.errors import DataError

ROWS: tuple[Trial | Ranked, ...] = (
    Trial((), 7.123456789012345, 91.2, 22.0, 92.0, ("bias", "round"), 1.5),
    Ranked("a", 0.1 + 0.2, 1605632),
    Ranked("b", math.inf, 0),
    Trial(("a", "b"), 0.0, 80.0),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = open_journal(path, "1", "key")
    assert not path.exists()
    for i, row in enumerate(ROWS):
        journal.add(row)
        assert len(path.read_text().splitlines()) == i + 2
    again = open_journal(path, "1", "key")
    assert again.trials == {(): ROWS[0], ("a", "b"): ROWS[3]}
    assert again.layers == {"a": ROWS[1], "b": ROWS[2]}
    again.add(Ranked("c", 0.0, 1))
    assert path.read_text().splitlines()[:5] == journal.lines


@pytest.mark.parametrize(("version", "key"), [("2", "key"), ("1", "other")])
def test_a_journal_of_another_search_is_begun_anew(tmp_path: Path, version: str, key: str) -> None:
    path = tmp_path / "j.jsonl"
    open_journal(path, "1", "key").add(ROWS[0])
    other = open_journal(path, version, key)
    assert other.trials == {}
    other.add(ROWS[3])
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("text", ["", "hello\n", '{"kind": "layer"}\n', "[1]\n", "{}\n"])
def test_another_file_is_not_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match="is not the journal of a search"):
        open_journal(path, "1", "key")
    assert path.read_text() == text


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    open_journal(path, "1", "key").add(ROWS[0])
    path.write_text(path.read_text() + '{"kind": "trial", "keep": []}\n')
    with pytest.raises(DataError, match="move it away"):
        open_journal(path, "1", "key")
