"""Insertions into a list of nodes and removals from it, kept until the list is read.

Each takes a constant time, and reading a time linear in the number of nodes: Q/DQ are two nodes for
every tensor, and to look for their place from the start of the list takes a time quadratic in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Insertions:
    """What is to be done to a list, as if it were done at once, one after the other.

    Nodes are known by identity; those that were inserted may be anchors of others.
    """

    first: list[Any] = field(default_factory=list)
    before: dict[int, list[Any]] = field(default_factory=dict)
    after: dict[int, list[Any]] = field(default_factory=dict)
    gone: dict[int, Any] = field(default_factory=dict)

    def put_first(self, node: Any) -> None:
        """Insert ``node`` at the start."""
        self.first.append(node)

    def put_before(self, anchor: Any, node: Any) -> None:
        """Insert ``node`` directly before ``anchor``."""
        self.before.setdefault(id(anchor), []).append(node)

    def put_after(self, anchor: Any, node: Any) -> None:
        """Insert ``node`` directly after ``anchor``."""
        self.after.setdefault(id(anchor), []).append(node)

    def remove(self, node: Any) -> None:
        """Remove ``node``; what was inserted beside it stays."""
        self.gone[id(node)] = node

    def apply(self, nodes: list[Any]) -> None:
        """Change ``nodes`` in place, and forget what was to be done."""
        if not (self.first or self.before or self.after or self.gone):
            return
        roots = [*reversed(self.first), *nodes]
        nodes[:] = [n for root in roots for n in self._around(root) if id(n) not in self.gone]
        for kept in (self.first, self.before, self.after, self.gone):
            kept.clear()

    def _around(self, root: Any) -> Iterator[Any]:
        """``root`` with all that stands around it, in order; without recursion, since insertions
        form chains."""
        stack = [(root, False)]
        while stack:
            node, opened = stack.pop()
            if opened or not (id(node) in self.before or id(node) in self.after):
                yield node
                continue
            # the last one in comes out first
            stack += [(n, False) for n in self.after.get(id(node), ())]
            stack.append((node, True))
            stack += [(n, False) for n in reversed(self.before.get(id(node), ()))]
