"""The script: constants, the functions of ``engine.py``, and what it does with them.

Nothing of a model is code in it: names are literals, escaped to ASCII, and are read back by
:func:`constants_of` before the file appears.
"""

import ast
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import oq
from oq.deployment.trt.profiles import Shapes3

HEAD = '''"""Builds a TensorRT engine of an ONNX file with Q/DQ nodes, tells the precision of its
layers, and times it.  Written by oq {version}.

    python THIS_FILE [--onnx FILE] [--engine FILE] [--runs N]

Needs an NVIDIA GPU and the package tensorrt, 8.6 or newer.
"""

import argparse
import statistics
from pathlib import Path

'''

MAIN = '''

def main() -> None:
    """Build, tell, time."""
    import tensorrt as trt

    parser = argparse.ArgumentParser(description="build a TensorRT engine and time it")
    here = Path(__file__).resolve().parent
    parser.add_argument("--onnx", type=Path, default=here / ONNX)
    parser.add_argument("--engine", type=Path, default=here / ENGINE)
    parser.add_argument("--runs", type=int, default=100)
    asked = parser.parse_args()
    try:
        plan = build_engine(trt, str(asked.onnx), PROFILE, FLAGS)
        asked.engine.write_bytes(plan)
        print(f"TensorRT {trt.__version__}: {asked.engine}, {len(plan):,} bytes")
        for layer in layers_of(trt, plan):
            print(f"{precision_of(layer) or '-':<9} {' + '.join(nodes_of(layer))}")
        spent = time_engine(trt, plan, PROFILE, asked.runs)
    except (RefusedError, BuildError) as error:
        sys.exit(f"TensorRT {trt.__version__}: {error}")
    print(f"median {statistics.median(spent):.3f} ms, fastest {min(spent):.3f} ms of {len(spent)}")


if __name__ == "__main__":
    main()
'''


def write_script(
    model: str, engine: str, shapes: Mapping[str, Shapes3], flags: Sequence[str]
) -> str:
    """The text of the script, whose default files are ``model`` and ``engine``, from its folder."""
    own = files("oq.deployment.trt").joinpath("engine.py").read_text(encoding="utf-8")
    body = own.split('"""', 2)[2].strip()  # without its docstring
    constants = {
        "ONNX": model,
        "ENGINE": engine,
        "PROFILE": dict(shapes),
        "FLAGS": tuple(flags),
    }
    lines = "".join(f"{name} = {value!a}\n" for name, value in constants.items())
    return f"{HEAD.format(version=oq.__version__)}{body}\n\n{lines}{MAIN}"


def constants_of(text: str) -> dict[str, Any]:
    """The constants of a script.

    Raises:
        SyntaxError: it is not Python.
    """
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found
