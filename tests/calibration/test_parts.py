"""Parts of a job, run one after the other in this process: the statistics of one run."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pytest

from oq.calibration.job import Job, size_batches
from oq.calibration.measure import measure
from oq.calibration.packing import to_bytes
from oq.calibration.parts import PARTS, Part, join_parts
from oq.errors import DataError
from oq.parallel import Tell, Work
from tests.calibration.test_measure import BYTES, X, job, source

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(slots=True)
class Here:
    """Workers that are this process; what travels is pickled, and joined from the last on."""

    slots: int = 3
    items: int = 0

    def map(
        self, work: Work[Item, Found], items: Iterable[Item], tell: Tell | None = None
    ) -> Iterator[Found]:
        for item in items:
            found: Found = sent(work)(sent(item), tell or (lambda done: None))
            yield found

    def fold(
        self,
        work: Work[Item, Found],
        items: Sequence[Item],
        join: Callable[[Sequence[Found]], Found],
        tell: Tell | None = None,
    ) -> Found:
        self.items = len(items)
        found: list[Found] = [sent(f) for f in self.map(work, items, tell)]
        while len(found) > 1:
            found = [*found[:-3], join(found[-3:][::-1])]
        return found[0]


def sent(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("data", [X, X[:3], [{"x": X[i : i + 5]} for i in range(0, 21, 5)]])
def test_parts_make_the_statistics_of_one_run(data: Any) -> None:
    alone, workers = job(), Here()
    expected = measure(alone, source(data))
    assert measure(replace(job(), workers=workers), source(data)) == expected
    batches = -(-len(data) // 4)
    assert workers.items == (3 if isinstance(data, list) else min(batches, 3 * PARTS))


def test_what_the_limit_of_memory_led_to_comes_back() -> None:
    def limited() -> Job:
        return job(limit=int(2.5 * BYTES))

    alone, apart = limited(), replace(limited(), workers=Here())
    assert measure(apart, source()) == measure(alone, source())
    assert size_batches(apart).passes == size_batches(alone).passes == 3
    assert size_batches(apart).least == size_batches(alone).least == 1


def test_data_that_can_be_read_once_stays_here() -> None:
    once = ({"x": X[i : i + 4]} for i in range(0, 20, 4))
    with pytest.raises(DataError, match="can be read only once, by one process; for workers give"):
        measure(replace(job(), workers=Here()), source(once))


def test_an_npy_is_opened_where_it_is_read(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X)
    data = source(str(tmp_path / "x.npy"))
    assert len(pickle.dumps(data)) < 2000 < X.nbytes
    assert measure(replace(job(), workers=Here()), data) == measure(job(), source(X))
    (tmp_path / "x.npy").unlink()
    with pytest.raises(DataError, match=r"x\.npy: cannot be read here: "):
        sent(data)


def test_least_and_passes_of_two_parts() -> None:
    one, two = Part(1, to_bytes({}), None, 1), Part(2, to_bytes({}), 4, 3)
    found = join_parts([one, two])
    assert (found.samples, found.least, found.passes) == (3, 4, 3)
    assert join_parts([two, one]) == found
