"""What a pass did, and where it declined."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """``changed`` places were rewritten; each refusal is a sentence that names a node."""

    changed: int = 0
    refusals: tuple[str, ...] = ()
