"""Initializers' names as names of torch parameters.

A dotted name is a path of modules in torch: ``layer1.0.conv1.weight`` becomes the parameter
``weight`` of a module ``conv1`` and so on, so that ``state_dict`` has the initializer's own name.
A name that torch cannot hold (an empty part, the name of a method, a parameter that would be a
module too) gets underscores in place of what is in the way.
"""

import re
from collections.abc import Iterable, Set


def parameter_names(tensors: Iterable[str], taken: Set[str]) -> dict[str, str]:
    """Tensor -> path of its parameter; ``taken`` are the attributes that torch's modules have.

    >>> parameter_names(["a.b", "a", "forward", "x/w:0"], {"forward"})
    {'a.b': 'a.b', 'a': 'a_', 'forward': 'forward_', 'x/w:0': 'x/w:0'}
    """
    found: dict[str, str] = {}
    leaves: set[str] = set()
    folders: set[str] = set()
    for tensor in tensors:
        path = tensor
        if not _legal(path, taken) or _clashes(path, leaves, folders):
            path = re.sub(r"\W", "_", tensor) + "_"
            while path in taken or _clashes(path, leaves, folders):
                path += "_"
        found[tensor] = path
        leaves.add(path)
        folders.update(_above(path))
    return found


def _legal(path: str, taken: Set[str]) -> bool:
    parts = path.split(".")
    return all(parts) and taken.isdisjoint(parts)


def _clashes(path: str, leaves: Set[str], folders: Set[str]) -> bool:
    """Whether ``path`` is there already, or one of both would be a parameter and a module."""
    return path in leaves or path in folders or not leaves.isdisjoint(_above(path))


def _above(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]
