"""Reads the charts back from a report file, for ``oq plot``."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oq.comparison.layers import LayerError
from oq.errors import OptionError
from oq.page.content import Activation, Choice, Weight
from oq.ranking.rank import Ranking
from oq.ranking.table import as_ranking

_STORY = re.compile(r'<script type="application/json" id="story">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pictures:
    """The charts of a report, by name; ``title``: the model and its target."""

    activations: Mapping[str, Activation]
    weights: Mapping[str, Weight]
    layers: tuple[LayerError, ...]
    ranking: Ranking | None
    title: str = ""


def read_pictures(path: Path) -> Pictures:
    """The charts of the report at ``path``, .html or .json.

    Raises:
        OptionError: there is no such file, or ``oq`` did not write it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        inside = _STORY.search(text)
        held = json.loads(text if inside is None else inside.group(1))
        return _pictures(held)
    except OSError as error:
        raise OptionError(f"{str(path)!r}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"{str(path)!r} is not a report: expected a file that --report FILE.html or FILE.json "
            "wrote"
        ) from error


def _pictures(held: Mapping[str, Any]) -> Pictures:
    evidence, found = held["evidence"], held["verification"]
    activations = [
        Activation(
            **{k: v for k, v in a.items() if k not in ("bins", "choices")},
            bins=tuple(a["bins"]),
            choices=tuple(Choice(**c) for c in a["choices"]),
        )
        for a in evidence["activations"]
    ]
    weights = [_weight(w) for w in evidence["weights"]]
    return Pictures(
        {a.tensor: a for a in activations},
        {w.tensor: w for w in weights},
        () if found is None else tuple(LayerError(**r) for r in found["layers"]),
        None if held["ranking"] is None else as_ranking(held["ranking"]),
        f"{Path(held['model']).name} for {held['target']}",
    )


def _weight(held: Mapping[str, Any]) -> Weight:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in held.items()}
    return Weight(**fields)
