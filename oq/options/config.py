"""A run written down: the YAML file of ``--config``, and the one a run leaves beside its output.

Every key is the keyword of :func:`oq.quantize`, :func:`oq.search` or :func:`oq.finetune` of the
same meaning, so a file, a command line and a call in Python say the same thing in the same words;
``deploy`` holds those of :func:`oq.deploy`.  :data:`KEYS` is the whole schema.  A search leaves the
config of the file it ends with, which a plain run makes again.
"""

import dataclasses
import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from oq.errors import OptionError
from oq.options.deploy_rows import PLACE, TO
from oq.options.keywords import DeployOptions, FinetuneOptions, SearchOptions, options_of
from oq.options.kinds import Written, read_mapping
from oq.options.rows import DATA, MAX_DROP, TARGET, Option
from oq.plain_yaml import read_yaml
from oq.planning.overrides import Layer


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the schema: what the key takes, how it is read, what it means."""

    name: str
    takes: str
    read: Written
    meaning: str
    example: str


def _keys(known: Mapping[str, Option]) -> Iterator[Key]:
    """Every option with an example, in the order of the table."""
    for name, option in known.items():
        if option.kind is not None and option.example:
            yield Key(name, option.takes, option.kind.read, option.once, option.example)


DEPLOY = "deploy"
"""The key that holds those of :data:`DEPLOY_KEYS`."""

DEPLOY_KEYS = tuple(_keys({"to": TO, "output": PLACE, **options_of(DeployOptions)}))
"""What ``oq deploy`` takes, and what the commands that write a quantized file then hand to it."""


def _read_deploy(name: str, value: Any) -> dict[str, Any]:
    """The keywords of :func:`oq.deploy` with its format ``to``."""
    known = {key.name: key for key in DEPLOY_KEYS}
    found: dict[str, Any] = {}
    for inner, given in read_mapping(name, value).items():
        if inner not in known:
            raise _unknown(f"{name}.{inner}", known)
        if given is not None:
            found[inner] = known[inner].read(f"{name}.{inner}", given)
    if "to" not in found:
        raise OptionError(f"config key {name!r} names no format: key 'to', see oq formats")
    return found


KEYS: tuple[Key, ...] = (
    *_keys(
        {"target": TARGET, "data": DATA, **options_of(SearchOptions), "max_drop": MAX_DROP}
        | options_of(FinetuneOptions)
    ),
    Key(DEPLOY, "a mapping", _read_deploy, "then write the file in the format of a device", ""),
)
"""Every key of the file."""

MAY_BE_HELD = ("data", "eval_data")
"""Keys whose value may be arrays or feeds instead of a path, which no file can hold."""

_BY_NAME = {key.name: key for key in KEYS}


def read_config(path: str | Path) -> dict[str, Any]:
    """The keywords for :func:`oq.quantize` that the file at ``path`` holds.

    Raises:
        OptionError: there is no such file, it is not a YAML mapping, or a key or value is not
            allowed; the message names the key and what it takes.
    """
    try:
        found = read_yaml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"--config {str(path)!r}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        raise OptionError(f"--config {str(path)!r} is not a YAML file: {line}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise OptionError(f"--config {str(path)!r}: expected a mapping of keys to values")
    known = {name: _read(name, value) for name, value in found.items() if value is not None}
    return _with_paths(known, lambda value: _beside(value, Path(path).parent))


PATHS = ("data", "preprocess", "labels", "eval_data", "ranges", "ranking", "cache", "output")
"""Keys that may hold a path, relative to the file's folder, or else to the current one."""


def _with_paths(options: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """``options`` with the keys of :data:`PATHS` changed, those of ``deploy`` as well."""
    inner = {DEPLOY: _with_paths(options[DEPLOY], change)} if DEPLOY in options else {}
    return {**options, **{name: change(options[name]) for name in PATHS if name in options},
            **inner}  # fmt: skip


def _beside(value: Any, folder: Path) -> Any:
    """A path that lies beside the config file, as seen from here."""
    if not isinstance(value, str | Path) or Path(value).is_absolute():
        return value
    found = Path(os.path.relpath(folder / value)) if (folder / value).exists() else None
    return value if found is None else type(value)(found)


def _read(name: object, value: Any) -> Any:
    key = _BY_NAME.get(str(name))
    if key is None:
        raise _unknown(name, _BY_NAME)
    return key.read(key.name, value)


def _unknown(name: object, known: Iterable[str]) -> OptionError:
    there = tuple(known)
    near = difflib.get_close_matches(str(name), there, n=1)
    meant = f"did you mean {near[0]!r}? Available" if near else "available"
    return OptionError(f"config key {name!r} is unknown; {meant}: {', '.join(there)}")


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` (keywords of :func:`oq.quantize`) in YAML's own types, in the order of
    :data:`KEYS`; without those that are None or empty, and without data that only exists in memory.
    """
    kept = {key.name: options.get(key.name) for key in KEYS}
    kept |= {name: None for name in MAY_BE_HELD if not isinstance(kept[name], str | Path)}
    found = {name: _plain(value) for name, value in kept.items()}
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def write_config(
    options: Mapping[str, Any], about: Iterable[str] = (), folder: Path | None = None
) -> str:
    """``options`` (keywords of :func:`oq.quantize`) as YAML that :func:`read_config` reads back;
    ``about`` are lines of comment in front.  Paths are relative to ``folder``, that of the file."""
    comments = "".join(f"# {line}\n" for line in about)
    plain = plain_options(options)
    if folder is not None:
        plain = _with_paths(plain, lambda value: _seen_from(folder, value))
    return comments + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)


def _seen_from(folder: Path, value: str) -> str:
    """A relative path that exists, from ``folder``; anything else as it is."""
    if Path(value).is_absolute() or not Path(value).exists():
        return value
    try:
        return Path(os.path.relpath(value, folder)).as_posix()
    except ValueError:  # another drive
        return str(Path(value).absolute())


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
    plain = (f"\n# {k.name} ({k.takes}): {k.meaning}\n# {k.name}: {k.example}\n"
             for k in KEYS if k.name != DEPLOY)  # fmt: skip
    last = _BY_NAME[DEPLOY]
    about = (
        f"\n# {DEPLOY} ({last.takes}): {last.meaning}, or with oq deploy FILE --config THIS.yaml\n"
    )
    inner = (
        f"#   # {k.name} ({k.takes}): {k.meaning}\n#   {k.name}: {k.example}\n" for k in DEPLOY_KEYS
    )
    return "".join((head, *plain, about, f"# {DEPLOY}:\n", *inner))
