"""The result of a pass."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """``changed`` is the number of rewrites; each refusal is a sentence that names a node."""

    changed: int = 0
    refusals: tuple[str, ...] = ()
