"""The remark on nodes that draw at random (:mod:`oq.model.noise`)."""

from collections.abc import Sequence

from oq.wording import counted

NAMED = 3
"""Maximum number of nodes named."""


def random_note(nodes: Sequence[str]) -> tuple[str, ...]:
    """That ``nodes`` draw at random, and what that means for the figures."""
    if not nodes:
        return ()
    names = ", ".join(map(repr, nodes[:NAMED])) + (", ..." if len(nodes) > NAMED else "")
    return (
        f"{counted(len(nodes), 'node')} draw at random ({names}): while measuring they draw the "
        "same in both models, so the figures hold for that draw; the file draws anew in every run",
    )
