"""A sensitivity ranking as text, CSV or JSON."""

import csv
import dataclasses
import io
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any

from oq.errors import OptionError
from oq.model.files import write_text
from oq.ranking.rank import Kept, Ranking, Sensitivity
from oq.wording import counted, cut, db, to_json

LISTED = 20
NAME = 30


def ranking_lines(found: Ranking, flags: Sequence[str] = ()) -> Iterable[str]:
    """The worst layers, the list to keep in float with its gain, and the command for it, with the
    additional ``flags``."""
    whole = db(found.sqnr_db)
    agree = "" if found.agreement is None else f", top-1 agrees on {found.agreement:.1f} %"
    yield f"sensitivity of {found.model} for {found.target}, {found.samples:,} samples"
    yield f"all layers quantized: SQNR {whole} dB at the outputs{agree}"
    yield ""
    yield "SQNR in dB at the outputs with only this layer quantized, its weights only, its"
    yield "inputs only; local: at its own output; rest: all layers but this one quantized"
    yield f"  {'layer':<{NAME}} {'share %':>7} {'alone':>6} {'weight':>6} {'input':>6} " + (
        f"{'local':>6} {'rest':>6}"
    )
    for row in found.layers[:LISTED]:
        numbers = (row.sqnr_db, row.weights_db, row.activations_db, row.local_db, row.without_db)
        columns = " ".join(f"{db(n):>6}" for n in numbers)
        yield f"  {cut(row.node, NAME):<{NAME}} {row.share:>7.1f} {columns}"
    if len(found.layers) > LISTED:
        yield f"  and {len(found.layers) - LISTED} more (-o TABLE.csv or --json lists all)"
    if found.inside:
        layers = counted(len(found.inside), "layer")
        yield ""
        yield f"not ranked, and in float here: {layers} in bodies of If, Loop and Scan"
        yield from (f"  {name}" for name in found.inside[:LISTED])
    yield ""
    yield from _keep_lines(found, flags)


def _keep_lines(found: Ranking, flags: Sequence[str]) -> Iterable[str]:
    if not found.kept:
        yield "keeping layers in float would not help"
        return
    last = found.kept[-1]
    yield (
        f"{len(found.kept)} of {len(found.layers)} layers kept in float raise the SQNR from "
        f"{db(found.sqnr_db)} to {db(last.sqnr_db)} dB:"
    )
    for step in found.kept:
        agree = "" if step.agreement is None else f", top-1 agrees on {step.agreement:.1f} %"
        yield f"  {step.node}"
        yield f"      SQNR {db(step.sqnr_db)} dB{agree}"
    yield ""
    yield "next:"
    yield command(found, flags)


def command(found: Ranking, flags: Sequence[str] = ()) -> str:
    """The ``oq quantize`` command that keeps the listed layers in float."""
    words = ["oq", "quantize", found.model, "--target", found.target, "--data", found.data]
    words += flags
    for name in found.keep:
        words += ["--keep-float", escape(name)]
    return shlex.join(words)


def write_table(found: Ranking, path: Path) -> None:
    """The complete ranking as ``.json``, or its rows as ``.csv``.

    An SQNR without error is written as ``inf`` in CSV and as null in JSON.
    """
    if path.suffix.lower() == ".json":
        text = json.dumps(to_json(found), indent=2) + "\n"
    else:
        text = "".join(_csv(found))
    write_text(path, text)


def read_ranking(path: Path) -> Ranking:
    """The ranking that :func:`write_table` wrote to a ``.json`` file.

    Raises:
        OptionError: there is no such file, or it is not a ranking.
    """
    try:
        return as_ranking(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise OptionError(f"--ranking {str(path)!r}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"--ranking {str(path)!r} is not a ranking: expected what oq sensitivity -o FILE.json "
            "writes"
        ) from error


def as_ranking(held: Mapping[str, Any]) -> Ranking:
    """The ranking from its JSON form; KeyError or TypeError if it is not one."""
    rows = [{**r, "ops": tuple(r["ops"])} for r in held["layers"]]
    whole: dict[str, Any] = {
        **_full(held),
        "layers": tuple(Sensitivity(**_full(r)) for r in rows),
        "kept": tuple(Kept(**_full(k)) for k in held["kept"]),
        "inside": tuple(held.get("inside", ())),
    }
    return Ranking(**whole)


def _number(value: float | None) -> float:
    """What JSON writes as null: an SQNR without error."""
    return math.inf if value is None else float(value)


def _full(row: Mapping[str, Any]) -> dict[str, Any]:
    """``row`` with the numbers that are never missing."""
    always = ("sqnr_db", "local_db", "without_db")
    return {k: _number(v) if k in always else v for k, v in row.items()}


def _csv(found: Ranking) -> Iterable[str]:
    held = io.StringIO()
    rows = csv.writer(held, lineterminator="\n")
    names = [f.name for f in dataclasses.fields(Sensitivity)]
    kept = set(found.keep)
    rows.writerow([*names, "keep_float"])
    for row in found.layers:
        values = [getattr(row, n) for n in names]
        cells = ["+".join(v) if isinstance(v, tuple) else v for v in values]
        rows.writerow([*cells, int(row.node in kept)])
    yield held.getvalue()
