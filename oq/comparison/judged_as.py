"""As what a quantized file is judged: in which engine, in which of its modes, for which target."""

from dataclasses import dataclass

from oq.comparison.compare import Mode
from oq.engines.engine import DEFAULT
from oq.planning import registry


@dataclass(frozen=True, slots=True)
class JudgedAs:
    """``target``: "" for none; ``made_for``: the one in the file's metadata, or ""."""

    engine: str
    mode: Mode
    target: str
    made_for: str


def judged_as(engine: str | None, target: str | None, own: str | None) -> JudgedAs:
    """As the ``target`` does that is named, else the one that the file was made for (``own``); an
    ``engine`` that is named is what counts.

    Raises:
        OptionError: there is no such target.
    """
    if target is None and engine is None:
        target = own
    if target is None:
        return JudgedAs(engine or DEFAULT, "deployed", "", own or "")
    profile = registry.target(target)
    mode: Mode = "deployed" if engine or profile.runs_in_engine else "literal"
    return JudgedAs(engine or profile.verified_in, mode, target, own or "")
