"""The journal of a search: JSON lines beside the output, one per measurement.

    {"kind": "run", "oq": VERSION, "key": SHA-256 of model, data and options}
    {"kind": "layer", "node": NAME, "error": E, "macs": N}
    {"kind": "trial", "keep": [NAME, ...], "drop": POINTS, "int8_share": PERCENT, ...}

For every line it is written to a temporary file and renamed, so it never ends in a partial line.
Its contents do not depend on the budget, so a search with another ``--max-drop`` can resume from
it. null is an infinite error.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oq.budget.strategy import Ranked
from oq.budget.trial import Trial
from oq.errors import DataError
from oq.model.files import write_text


@dataclass(slots=True)
class Journal:
    """The measurements so far, on disk at ``path``."""

    path: Path
    lines: list[str]
    layers: dict[str, Ranked] = field(default_factory=dict)
    trials: dict[tuple[str, ...], Trial] = field(default_factory=dict)

    def add(self, row: Ranked | Trial) -> None:
        """Append a line."""
        if isinstance(row, Ranked):
            self.layers[row.node] = row
        else:
            self.trials[row.keep] = row
        kind = "layer" if isinstance(row, Ranked) else "trial"
        self.lines.append(_line({"kind": kind, **dataclasses.asdict(row)}))
        write_text(self.path, "\n".join([*self.lines, ""]))


def open_journal(path: Path, version: str, key: str) -> Journal:
    """The journal at ``path``; empty if there is none, or if it is of another model, other data or
    other options.

    Raises:
        DataError: the file is not a journal.
    """
    head = _line({"kind": "run", "oq": version, "key": key})
    journal = Journal(path, [head])
    if not path.exists():
        return journal
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        if not rows or rows[0]["kind"] != "run":
            raise ValueError("its first line is not of a run")
        if lines[0] != head:
            return journal
        journal.lines = lines
        for row in rows[1:]:
            _read(journal, row)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{str(path)!r} is not the journal of a search: {error}; move it away"
        ) from error
    return journal


def _read(journal: Journal, row: dict[str, Any]) -> None:
    kind = row.pop("kind")
    if kind == "layer":
        error = math.inf if row["error"] is None else float(row["error"])
        journal.layers[row["node"]] = Ranked(row["node"], error, int(row["macs"]))
    elif kind == "trial":
        trial = Trial(**row | {k: tuple(row[k]) for k in ("keep", "refined")})
        journal.trials[trial.keep] = trial
    else:
        raise ValueError(f"a line of kind {kind!r}")


def _line(row: Mapping[str, object]) -> str:
    plain = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
    }
    return json.dumps(plain)
