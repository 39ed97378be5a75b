"""Parts of the samples: their batches, all together, are those of one reading."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oq.data.dealing import WHOLE, Piece, Shard, deal, is_empty, read
from oq.data.source import Fitted, open_source, split, subset
from oq.data.sources import fitted
from oq.data.sources.streams import Rows
from oq.errors import OptionError
from oq.numerics.values import Array, Batch, TensorInfo

FIXED = TensorInfo("x", "float32", ("n", 2))
X: Array = np.arange(200, dtype=np.float32).reshape(100, 2)


def rows(batches: Iterator[tuple[int, Batch]]) -> list[tuple[int, list[float]]]:
    return [(first, batch.feeds["x"].reshape(-1).tolist()) for first, batch in batches]


def source(data: Any, *shape: int | str) -> Fitted:
    return open_source(data, [TensorInfo("x", "float32", shape)])


def lengths() -> list[dict[str, Array]]:
    """Feeds of one row each, of several lengths: runs of rows that have one length."""
    return [{"x": X[i : i + 1, : 1 + i // 5 % 2]} for i in range(40)]


SOURCES: dict[str, Fitted] = {
    "rows": source({"x": X}, "n", 2),
    "of a fixed batch": source({"x": X}, 7, 2),
    "with free axes": source({"x": X}, "n", "m"),
    "with free axes and a fixed batch": source({"x": X}, 7, "m"),
    "drawn": subset(source({"x": X}, "n", 2), 51, 3),
    "kept": split(source({"x": X}, "n", 2), 8)[0],
    "a feed in each row": source({"x": X.reshape(20, 5, 2)}, 5, 2),
    "feeds": source([{"x": X[i : i + 1 + i % 3]} for i in range(30)], "n", 2),
    "feeds for a fixed batch": source([{"x": X[i : i + 1 + i % 3]} for i in range(30)], 4, 2),
    "a function": source(lambda: iter(lengths()), "n", "m"),
}


@pytest.mark.parametrize("name", SOURCES)
@settings(max_examples=10)
@given(size=st.integers(1, 9), parts=st.integers(1, 12))
def test_parts_have_the_batches_of_the_whole(name: str, size: int, parts: int) -> None:
    data = SOURCES[name]

    def sized(batch: Batch) -> int:
        return size

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitted, "BLOCK", 16)
        whole = rows(read(data, sized, WHOLE))
        pieces = deal(data, sized, parts)
        assert len(pieces) == parts
        found = [row for piece in pieces for row in rows(read(data, sized, piece))]
        assert sorted(found) == whole
        done = whole[len(whole) // 2][0]
        rest = [p for p in deal(data, sized, parts, done) if not is_empty(p)]
        left = [row for piece in rest for row in rows(read(data, sized, piece))]
        assert sorted(left) == [row for row in whole if row[0] >= done]
        for piece in pieces:
            mine = list(read(data, sized, piece))
            seen = sum(batch.samples for _, batch in mine[:2])
            assert rows(read(data, sized, piece.after(seen))) == rows(iter(mine[2:]))


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100])
def test_rows_are_dealt_in_ranges_of_whole_batches(count: int) -> None:
    data = source({"x": X[:count]}, "n", 2)
    pieces = deal(data, lambda batch: 4, 3)
    starts = [p.start for p in pieces]
    assert all(s % 4 == 0 for s in starts) and starts[0] == 0 and pieces[-1].stop is None
    assert [p.stop for p in pieces[:-1]] == starts[1:]
    sizes = [(min(p.stop or count, count) - p.start) / 4 for p in pieces]
    assert max(sizes) - min(sizes) <= 1


def test_only_the_rows_of_a_part_are_read() -> None:
    asked: list[int] = []

    class Watched:
        name, count = "watched", 100

        def take(self, rows: Iterable[int], size: int) -> Iterator[Batch]:
            for number in rows:
                asked.append(number)
                yield Batch({"x": X[number : number + 1]})

        def locate(self, row: int) -> str:
            return str(row)

        def digest(self) -> None:
            return None

    data = Fitted(Rows(Watched()), (FIXED,))
    piece = deal(data, lambda batch: 4, 5)[2]
    asked.clear()
    assert [first for first, _ in read(data, lambda batch: 4, piece)] == [40, 44, 48, 52, 56]
    assert sorted(set(asked)) == [0, *range(40, 60)]  # the first, for its shape


def test_a_piece_without_samples_reads_nothing() -> None:
    assert is_empty(Piece(8, 8)) and not is_empty(Piece(8)) and not WHOLE.after(3).whole
    assert list(read(source({"x": X}, "n", 2), lambda batch: 4, Piece(8, 8))) == []


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "3/", "/4", "a/b", "-1/4", "1/4/4", ""])
def test_a_shard_is_a_number_of_several(text: str) -> None:
    assert Shard.parse("4/4") == Shard(4, 4)
    with pytest.raises(OptionError, match="expected NUMBER/OF, such as 3/16"):
        Shard.parse(text)
