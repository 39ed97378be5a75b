"""Deferred edits of a list equal those done at once."""

import numpy as np

from oq.model.insertions import Insertions


class Item:
    """Known by identity: all are equal."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Item)

    __hash__ = None  # type: ignore[assignment]


def place(items: list[Item], wanted: Item) -> int:
    return next(i for i, item in enumerate(items) if item is wanted)


def test_any_sequence_of_edits_gives_the_list_that_python_gives() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        plain = [Item() for _ in range(5)]
        later, waiting = list(plain), Insertions()
        for _ in range(random.integers(1, 12)):
            node = Item()
            anchor = plain[random.integers(len(plain))]
            match random.integers(5):
                case 0:
                    plain.insert(0, node)
                    waiting.put_first(node)
                case 1 | 2:
                    plain.insert(place(plain, anchor), node)
                    waiting.put_before(anchor, node)
                case 3:
                    plain.insert(place(plain, anchor) + 1, node)
                    waiting.put_after(anchor, node)
                case _ if len(plain) > 1:
                    del plain[place(plain, anchor)]
                    waiting.remove(anchor)
        waiting.apply(later)
        assert [id(n) for n in later] == [id(n) for n in plain]
        waiting.apply(later)
        assert [id(n) for n in later] == [id(n) for n in plain]


def test_chains_of_any_length_need_no_recursion() -> None:
    items, waiting = [Item()], Insertions()
    chain = [items[0]]
    for _ in range(5000):
        chain.append(Item())
        waiting.put_after(chain[-2], chain[-1])
    waiting.apply(items)
    assert all(a is b for a, b in zip(items, chain, strict=True))
