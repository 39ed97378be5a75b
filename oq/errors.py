"""Errors that the user can fix (``OqError``); any other exception is a bug in oq.

An ``OqError`` is one line that says what was found, where, and what is accepted.  The command line
prints it and exits with 2; other exceptions show their traceback.
"""

import re
from collections.abc import Mapping

LONG_WORD, CUT_TO = 160, 80
"""Characters from which a word is cut, and what is left of it."""

PART = 255
"""Characters that the names in a path have at most."""


def shorten(text: str) -> str:
    """``text`` with the middle left out of words that are too long to read: names of tensors and
    nodes, not paths of files.

    >>> shorten("node " + 200 * "x" + "_3 is there")[40:]
    'xxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_3 is there'
    """
    if len(text) <= LONG_WORD:
        return text
    return re.sub(rf"\S{{{LONG_WORD + 1},}}", lambda found: _cut_word(found[0]), text)


def _cut_word(word: str) -> str:
    is_path = "/" in word and all(len(part) <= PART for part in word.split("/"))
    half = (CUT_TO - 3) // 2
    return word if is_path else f"{word[:half]}...{word[-half:]}"


class OqError(Exception):
    """Invalid input that the user can fix; its message is cut by :func:`shorten`."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shorten(message))


class ModelError(OqError):
    """The model file cannot be read, or cannot be quantized as it is."""


class DataError(OqError):
    """The calibration or evaluation data does not fit the model."""


class OptionError(OqError):
    """A flag, a configuration key or an argument has an invalid value."""


EXTRAS: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch", "onnxscript", "safetensors"),
    "images": ("pillow",),
    "report": ("matplotlib",),
    "openvino": ("openvino",),
    "coreml": ("coremltools",),
    "ray": ("ray",),
}
"""Extra of pyproject.toml -> its packages, which are named in place of it: ``oq`` on the package
index is another project."""


def install_line(extra: str) -> str:
    """The command that installs the packages of ``extra``."""
    return f"pip install {' '.join(EXTRAS[extra])}"


class MissingExtra(OqError):
    """A feature needs an optional dependency that is not installed.

    >>> str(MissingExtra("images", "a folder of images", "pillow"))
    'a folder of images needs pillow, which is not installed: pip install pillow'
    """

    def __init__(self, extra: str, feature: str, package: str | None = None) -> None:
        found = extra if package is None else package
        super().__init__(f"{feature} needs {found}, which is not installed: {install_line(extra)}")


SOURCE = re.compile(r"\S+\.(?:h|cc|cpp):\d+ \S+?\([^()]*(?:\([^()]*\)[^()]*)*\)( const)? ?")
"""Where onnxruntime raises: a source file, a line, and the signature of a C++ function."""

LONGEST = 400


def runtime_message(error: Exception) -> str:
    """What onnxruntime says, in one line without its source: the shapes stand at the end, so of a
    long message the middle is left out.

    >>> runtime_message(ValueError("Status: /ort/a_helper.h:44 ort::A::A(const T&, bool) Bad {1}"))
    'Status: Bad {1}'
    """
    text = SOURCE.sub("", one_line(error))
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def one_line(error: Exception) -> str:
    """The message of ``error`` without line breaks, to be quoted in the message of an `OqError`.

    >>> one_line(ValueError("bad header:\\n  too long"))
    'bad header: too long'
    """
    return " ".join(str(error).split())
