"""The remark on nodes that draw at random (:mod:`oq.model.noise`)."""

from collections.abc import Sequence

NAMED = 3
"""Maximum number of nodes named."""


def random_note(nodes: Sequence[str]) -> tuple[str, ...]:
    """That ``nodes`` draw at random, and what that means for the figures."""
    if not nodes:
        return ()
    names = ", ".join(map(repr, nodes[:NAMED])) + (", ..." if len(nodes) > NAMED else "")
    return (
        f"random numbers, drawn by {names}: while measuring both models draw the same ones, so the "
        "figures hold for that draw; the file draws anew in every run",
    )
