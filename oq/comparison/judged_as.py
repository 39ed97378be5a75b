"""As what a quantized file is judged: in which engine, in which of its modes, for which target."""

from dataclasses import dataclass, replace

from oq.comparison.compare import Mode
from oq.engines.engine import DEFAULT, is_installed
from oq.planning import registry
from oq.planning.target import Target


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
    judged = as_target(registry.target(target))
    if engine is None:
        return replace(judged, made_for=own or "")
    return JudgedAs(engine, "deployed", target, own or "")


def as_target(target: Target) -> JudgedAs:
    """As ``target`` runs its own files; as the Q/DQ nodes say where its engine is not installed."""
    if not is_installed(target.verified_in):
        return JudgedAs(DEFAULT, "literal", target.name, target.name)
    mode: Mode = "deployed" if target.runs_in_engine else "literal"
    return JudgedAs(target.verified_in, mode, target.name, target.name)
