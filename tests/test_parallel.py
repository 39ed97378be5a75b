"""Work over the cores keeps its order, uses several threads, and passes errors on."""

import threading

import pytest
from threadpoolctl import threadpool_info

from oq.parallel import AHEAD, cores, keep_to, map_ahead, one_blas_thread, parallel_map, step_ahead
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
    for number, result in enumerate(map_ahead(note, range(20), lambda item: item % 3 > 0)):
        found.append(result)
        assert max(begun) <= number + AHEAD
    assert found == [-i for i in range(20)] and sorted(begun) == [*range(20)]
    with pytest.raises(ZeroDivisionError):
        list(map_ahead(lambda i: 1 // i, [1, 0], bool))


@pytest.mark.usefixtures("all_cores")
def test_a_process_of_one_core_begins_nothing_early() -> None:
    with keep_to(1):
        here = map_ahead(lambda _: threading.get_ident(), range(5), lambda _: True)
        assert set(here) == {threading.get_ident()}


def test_work_done_ahead_keeps_its_order_and_is_one_item_ahead() -> None:
    """Item 1 runs while item 0 is used, and item 2 waits until item 1 has been asked for."""
    begun = [threading.Event() for _ in range(3)]

    def work(i: int) -> int:
        begun[i].set()
        return sum(parallel_map(lambda j: j * i, range(4)))

    coming = step_ahead(work, range(3))
    assert next(coming) == 0
    assert begun[1].wait(10) and not begun[2].wait(0.05)
    assert list(coming) == [6, 12]
    assert list(step_ahead(work, [])) == []


def test_an_error_ahead_is_raised_where_its_item_is_taken() -> None:
    coming = step_ahead(lambda i: 1 // i, [1, 0])
    assert next(coming) == 1
    with pytest.raises(ZeroDivisionError):
        next(coming)


def test_blas_has_one_thread_and_gets_its_others_back() -> None:
    before = [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
    with one_blas_thread():
        inside = [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
    after = [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
    assert set(inside) <= {1} and after == before
