"""Work over the cores keeps its order, uses several threads, and passes errors on."""

import threading

import pytest

from oq.parallel import AHEAD, ahead, cores, keep_to, parallel_map
from tests.cores import ALL


def test_results_are_in_the_order_of_the_items() -> None:
    assert parallel_map(lambda i: i * i, range(100)) == [i * i for i in range(100)]
    assert parallel_map(str, []) == []


@pytest.mark.skipif(len(ALL) < 2, reason="needs two cores")
@pytest.mark.usefixtures("all_cores")
def test_two_items_are_worked_on_at_once() -> None:
    """Each waits for the other: one thread alone would never get past the barrier."""
    barrier = threading.Barrier(2, timeout=30)
    assert sorted(parallel_map(lambda _: barrier.wait(), range(2))) == [0, 1]


def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda i: 1 // i, [1, 0])
    assert parallel_map(lambda i: i, [1]) == [1]  # and the threads live on


@pytest.mark.usefixtures("all_cores")
def test_a_process_keeps_to_its_share() -> None:
    """Threads of one worker must not take the cores of those beside it."""
    before = cores()
    with keep_to(1):
        assert cores() == 1
        assert len(set(parallel_map(lambda _: threading.get_ident(), range(64)))) == 1
    assert cores() == before


@pytest.mark.usefixtures("all_cores")
def test_few_heavy_items_are_begun_early() -> None:
    begun: list[int] = []

    def note(item: int) -> int:
        begun.append(item)
        return -item

    found = []
    for number, result in enumerate(ahead(note, range(20), lambda item: item % 3 > 0)):
        found.append(result)
        assert max(begun) <= number + AHEAD
    assert found == [-i for i in range(20)] and sorted(begun) == [*range(20)]
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda i: 1 // i, [1, 0], bool))


@pytest.mark.usefixtures("all_cores")
def test_a_process_of_one_core_begins_nothing_early() -> None:
    with keep_to(1):
        here = ahead(lambda _: threading.get_ident(), range(5), lambda _: True)
        assert set(here) == {threading.get_ident()}
