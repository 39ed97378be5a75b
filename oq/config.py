"""A run written down: the YAML file of ``--config``, and the one a run leaves beside its output.

Every key is the keyword of :func:`oq.quantize` or :func:`oq.search` of the same meaning, so a file,
a command line and a call in Python say the same thing in the same words.  :data:`KEYS` is the whole
schema.  A search leaves the config of the file it ends with, which a plain run makes again.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from oq.errors import OptionError
from oq.planning.overrides import MODES, Layer, make_layer

Reader = Callable[[Any, str], Any]
"""(value as YAML gave it, the key's name) -> the value :func:`oq.quantize` takes."""


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the schema: what the key takes, how it is read, what it means."""

    name: str
    takes: str
    read: Reader
    meaning: str
    example: str


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "text")
    return value


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(name, value, "a whole number")
    return value


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise _wrong(name, value, "a number, 0 or more")
    return value


def _path(value: Any, name: str) -> Path:
    return Path(_text(value, name))


def _switch(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _mode(value: Any, name: str) -> str:
    if value not in MODES:
        raise _wrong(name, value, " or ".join(MODES))
    return str(value)


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise _wrong(name, value, "a list of texts")
    return tuple(value)


def _names(value: Any, name: str) -> Any:
    return value if isinstance(value, str) else _texts(value, name)


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        raise _wrong(name, value, "a mapping")
    return dict(value)


def _pairs(value: Any, name: str) -> tuple[tuple[str, str], ...]:
    found = _mapping(value, name)
    if not all(isinstance(v, str) for v in found.values()):
        raise _wrong(name, value, "a mapping from globs to calibrators")
    return tuple(found.items())


def _layers(value: Any, name: str) -> tuple[Layer, ...]:
    if not isinstance(value, list):
        raise _wrong(name, value, "a list of layers")
    layers = []
    for i, entry in enumerate(value):
        wishes = _mapping(entry, f"{name}[{i}]")
        if not isinstance(wishes.get("match"), str):
            raise OptionError(
                f"config key {name}[{i}]: expected 'match', a glob over layers or ops"
            )
        layers.append(make_layer(wishes.pop("match"), wishes))
    return tuple(layers)


KEYS: tuple[Key, ...] = (
    Key("target", "a name", _text, "what the file is for (oq targets)", "trt"),
    Key("data", "a path", _text, "calibration data, as for --data", "calib.npz"),
    Key("preprocess", "a path or a preset", _text, "of images", "imagenet"),
    Key("samples", "a number", _whole, "draw this many", "512"),
    Key("seed", "a number", _whole, "of the draw", "0"),
    Key("batch_size", "a number", _whole, "default: what fits the processor's cache", "8"),
    Key("calibrator", "a name", _text, "of activations (oq calibrators)", "minmax"),
    Key("settings", "a mapping", _mapping, "of target and calibrators", "{mse.steps: 32}"),
    Key("calibrator_for", "glob: name", _pairs, "for tensors, layers or ops", "{'Conv': mse}"),
    Key("weights", "max or mse", _text, "ranges of weights", "max"),
    Key("keep_float", "a list of globs", _texts, "nodes that stay in float", "['/head/*']"),
    Key("mode", " or ".join(MODES), _mode, "how far to go", "hybrid"),
    Key(
        "layers",
        "a list",
        _layers,
        "match: a glob over layers, tensors or ops; then dtype, symmetric, weights, per_channel,"
        " calibrator",
        "[{match: 'Conv_0', dtype: float}]",
    ),
    Key("ranges", "a path", _text, "ranges to use instead of measuring", "ranges.json"),
    Key("cache", "a path", _text, "keep statistics here; resumes", "oq.cache"),
    Key("refine", "names or none", _names, "steps to try (oq.refine)", "[bias]"),
    Key("max_memory", "MB", _whole, "of a batch's activations", "500"),
    Key("provider", "a name", _text, "onnxruntime's: cpu, cuda, ...", "cpu"),
    Key("verify", "true or false", _switch, "compare on held-back samples", "true"),
    Key("max_drop", "points", _number, "of top-1; layers stay float until it is met", "1.0"),
    Key("eval_data", "a path", _text, "labelled data that max_drop is measured on", "eval.npz"),
    Key("labels", "a path", _path, "CSV file,label for a folder of images", "labels.csv"),
    Key("time_limit", "seconds", _number, "of the search for max_drop", "600"),
    Key("report", "a path", _text, "a page (.html) or its content (.json)", "report.html"),
    Key("ranking", "a path", _text, "from oq sensitivity -o, for the page", "ranking.json"),
)  # fmt: skip
"""Every key of the file."""

_BY_NAME = {key.name: key for key in KEYS}


def read_config(path: str | Path) -> dict[str, Any]:
    """The keywords for :func:`oq.quantize` that the file at ``path`` holds.

    Raises:
        OptionError: there is no such file, it is no YAML mapping, or a key or value is not allowed;
            the message names the key and what it takes.
    """
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"--config {str(path)!r}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        raise OptionError(f"--config {str(path)!r} is no YAML file: {line}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise OptionError(f"--config {str(path)!r}: expected a mapping of keys to values")
    return {name: _read(name, value) for name, value in found.items() if value is not None}


def _read(name: object, value: Any) -> Any:
    key = _BY_NAME.get(str(name))
    if key is None:
        raise OptionError(f"config key {name!r} is unknown; there is: {', '.join(_BY_NAME)}")
    return key.read(value, key.name)


def _wrong(name: str, value: object, wanted: str) -> OptionError:
    return OptionError(f"config key {name!r} is {value!r}; expected {wanted}")


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` (keywords of :func:`oq.quantize`) in YAML's own types, in the order of
    :data:`KEYS`; without those that are None or empty, and without data that only exists in memory.
    """
    kept = {key.name: options.get(key.name) for key in KEYS}
    found = {name: _plain(value) for name, value in kept.items()}
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def write_config(options: Mapping[str, Any], about: Iterable[str] = ()) -> str:
    """``options`` (keywords of :func:`oq.quantize`) as YAML that :func:`read_config` reads back;
    ``about`` are lines of comment in front."""
    comments = "".join(f"# {line}\n" for line in about)
    plain = plain_options(options)
    return comments + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        if value and all(isinstance(v, tuple) for v in value):
            return dict(value)
        return [_plain(v) for v in value]
    if isinstance(value, Layer):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        glob = fields.pop("glob")
        return {"match": glob} | {k: v for k, v in fields.items() if v is not None}
    return value if isinstance(value, str | int | float) else None


def template() -> str:
    """A file with every key, commented out, and what it means."""
    head = "# oq quantize MODEL.onnx --config THIS.yaml; flags on the command line win over it.\n"
    entries = (f"\n# {k.name} ({k.takes}): {k.meaning}\n# {k.name}: {k.example}\n" for k in KEYS)
    return head + "".join(entries)
