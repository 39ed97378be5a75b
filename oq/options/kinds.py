"""How the values of options are written: on a command line, and in a config file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oq.errors import OptionError

if TYPE_CHECKING:
    from oq.planning.overrides import Layer

Written = Callable[[str, Any], Any]
"""(name of a config key, its value as YAML gave it) -> the option's value, or an OptionError."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of an option are written: ``flag`` is the type of its flag for typer, ``parse``
    makes the value of what the command line gave, ``read`` of what a config file gave."""

    flag: Any
    read: Written
    parse: Callable[[Any], Any] = lambda value: value


def _wrong(name: str, value: object, expected: str) -> OptionError:
    return OptionError(f"config key {name!r} is {value!r}; expected {expected}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "text")
    return value


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(name, value, "a whole number")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise _wrong(name, value, "a number, 0 or more")
    return value


def _path(name: str, value: Any) -> Path:
    return Path(_text(name, value))


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise _wrong(name, value, "a list of texts")
    return tuple(value)


def _names(name: str, value: Any) -> Any:
    return value if isinstance(value, str) else _texts(name, value)


def read_mapping(name: str, value: Any) -> dict[str, Any]:
    """A mapping from texts, of whatever values."""
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        raise _wrong(name, value, "a mapping")
    return dict(value)


def _pairs(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    found = read_mapping(name, value)
    if not all(isinstance(v, str) for v in found.values()):
        raise _wrong(name, value, "a mapping from globs to calibrators")
    return tuple(found.items())


def _mode(name: str, value: Any) -> str:
    from oq.planning.overrides import MODES

    if value not in MODES:
        raise _wrong(name, value, " or ".join(MODES))
    return str(value)


def _layers(name: str, value: Any) -> "tuple[Layer, ...]":
    from oq.planning.overrides import make_layer

    if not isinstance(value, list):
        raise _wrong(name, value, "a list of layers")
    layers = []
    for i, entry in enumerate(value):
        keys = read_mapping(f"{name}[{i}]", entry)
        if not isinstance(keys.get("match"), str):
            raise OptionError(
                f"config key {name}[{i}]: expected 'match', a glob over layers or ops"
            )
        layers.append(make_layer(keys.pop("match"), keys))
    return tuple(layers)


def parse_settings(pairs: Sequence[str] | None) -> dict[str, Any]:
    """``KEY=VALUE`` pairs of ``--set``, values read as YAML scalars (numbers, true, words)."""
    import yaml

    from oq.plain_yaml import read_yaml

    found: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise OptionError(f"--set {pair!r}: expected KEY=VALUE")
        try:
            found[name.strip()] = read_yaml(value)
        except yaml.YAMLError as error:
            raise OptionError(f"--set {pair!r}: {value!r} is not a number, word or list") from error
    return found


def parse_choices(pairs: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """``GLOB=NAME`` pairs of ``--calibrator-for``; the glob may hold further equals signs."""
    found = []
    for pair in pairs or ():
        glob, equals, name = pair.rpartition("=")
        if not equals or not glob or not name:
            raise OptionError(f"--calibrator-for {pair!r}: expected GLOB=NAME")
        found.append((glob, name))
    return tuple(found)


def parse_layers(texts: Sequence[str] | None) -> "tuple[Layer, ...]":
    """``GLOB:key=value[,key=value]`` of ``--layer``, one per layer."""
    from oq.planning.overrides import parse_layer

    return tuple(parse_layer(text) for text in texts or ())


def parse_mode(name: str) -> str:
    """One of the three ways to quantize."""
    from oq.planning.overrides import MODES

    if name not in MODES:
        raise OptionError(f"--mode {name!r}: expected {', '.join(MODES)}")
    return name


def _shapes(name: str, value: Any) -> dict[str, tuple[int | None, ...]]:
    found = {}
    for key, shape in read_mapping(name, value).items():
        sizes = shape if isinstance(shape, list) else str(shape).split("x")
        if not all(isinstance(s, int | None) and not isinstance(s, bool) for s in sizes):
            sizes = [_read_size(str(s)) for s in sizes]
        found[key] = tuple(sizes)
    return found


def _read_size(text: str) -> int | None:
    if text == "?":
        return None
    if not text.isascii() or not text.isdigit():
        raise OptionError(
            f"shape: {text!r} is not a size; expected NAME=1x3x224x224, ? for a free axis"
        )
    return int(text)


def parse_shapes(pairs: Sequence[str] | None) -> dict[str, tuple[int | None, ...]]:
    """``NAME=1x3x224x224`` of ``--shape``, one per input; ``?`` is an axis that stays free."""
    found: dict[str, tuple[int | None, ...]] = {}
    for pair in pairs or ():
        name, equals, sizes = pair.rpartition("=")
        if not equals or not name or not sizes or name in found:
            raise OptionError(f"shape {pair!r}: expected NAME=1x3x224x224, once per input")
        found[name] = tuple(_read_size(size) for size in sizes.split("x"))
    return found


def parse_names(pairs: Sequence[str] | None) -> dict[str, str]:
    """``INPUT=ARRAY`` of ``--rename``, one per input."""
    found: dict[str, str] = {}
    for pair in pairs or ():
        wanted, equals, array = pair.partition("=")
        if not equals or not wanted or not array or wanted in found:
            raise OptionError(f"--rename {pair!r}: expected INPUT=ARRAY, once per input")
        found[wanted] = array
    return found


def _by_name(name: str, value: Any) -> dict[str, str]:
    found = read_mapping(name, value)
    if not all(isinstance(array, str) for array in found.values()):
        raise _wrong(name, value, "a mapping from inputs to arrays")
    return found


def _several(values: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(values or ())


TEXT = Kind(str | None, _text)
PLAIN = Kind(str, _text)
COUNT = Kind(int | None, _whole)
WHOLE = Kind(int, _whole)
AMOUNT = Kind(float | None, _number)
FILE = Kind(Path | None, _text)
PATH = Kind(Path | None, _path)
SWITCH = Kind(bool, _switch)
CHOICE = Kind(bool | None, _switch)
NAMES = Kind(str | None, _names)
TEXTS = Kind(list[str] | None, _texts, _several)
KEY_VALUES = Kind(list[str] | None, read_mapping, parse_settings)
CHOICES = Kind(list[str] | None, _pairs, parse_choices)
SHAPES = Kind(list[str] | None, _shapes, parse_shapes)
RENAMES = Kind(list[str] | None, _by_name, parse_names)
LAYERS = Kind(list[str] | None, _layers, parse_layers)
MODE = Kind(str, _mode, parse_mode)
