"""Who may import whom, who may print, and how long a file may be: read from the source, not run."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import oq

ROOT = Path(oq.__file__).parents[1]
FOLDERS = {
    "oq": ROOT / "oq",
    "oq.targets": ROOT / "targets",
    "oq.calibrators": ROOT / "calibrators",
}

LINES, FUNCTION_LINES = 400, 60
COMMANDS = ("calibrate", "deploy", "finetune", "look", "make", "plot", "sensitivity")

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "imports": set(),
    "parallel": {"threadpoolctl"},
    "progress": {"rich"},
    "wording": {"errors"},
    "numerics": {"ml_dtypes", "numpy", "errors"},
    "calibrators": {"numpy", "numerics"},
    "model": {"google", "numpy", "onnx", "onnx_graphsurgeon", "onnxruntime", "errors", "parallel",
        "numerics"},
    "exporting": {"numpy", "onnx", "onnx_ir", "onnxscript", "torch", "errors", "imports",
        "numerics", "model"},
    "prepare": {"numpy", "onnx", "errors", "numerics", "model"},
    "planning": {"numpy", "onnx", "errors", "imports", "wording", "numerics", "model", "prepare"},
    "dpu": {"numpy", "onnx", "errors", "parallel", "wording", "numerics", "model", "planning"},
    "artifacts": {"google", "ml_dtypes", "numpy", "onnx", "torch", "errors", "wording", "numerics",
        "model"},
    "engines": {"onnx", "openvino", "errors", "numerics", "model", "dpu", "artifacts"},
    "checks": {"numpy", "onnx", "errors", "wording", "numerics", "model", "exporting", "prepare",
        "planning"},
    "targets": {"errors", "numerics", "model", "planning", "dpu", "checks"},
    "plugin": {"errors", "numerics", "model", "planning"},
    "doctor": {"errors", "parallel", "model"},
    "distributed": {"numpy", "ray", "errors", "parallel", "numerics"},
    "plain_yaml": {"yaml"},
    "data": {"PIL", "google", "numpy", "onnx", "yaml", "errors", "imports", "numerics", "model",
        "distributed", "plain_yaml"},
    "comparison": {"numpy", "onnx", "errors", "imports", "parallel", "wording", "numerics", "model",
        "prepare", "planning", "artifacts", "engines", "checks", "data"},
    "calibration": {"numpy", "onnx", "errors", "parallel", "wording", "numerics", "model",
        "planning", "data"},
    "emission": {"numpy", "onnx", "errors", "parallel", "wording", "numerics", "model", "planning",
        "checks", "calibration"},
    "refine": {"numpy", "onnx", "torch", "errors", "parallel", "progress", "wording", "numerics",
        "model", "prepare", "planning", "engines", "data", "comparison", "calibration", "emission"},
    "ranking": {"numpy", "onnx", "errors", "parallel", "progress", "wording", "numerics", "model",
        "exporting", "planning", "distributed", "data", "comparison", "calibration", "emission",
        "refine"},
    "reporting": {"onnx", "errors", "wording", "numerics", "model", "exporting", "planning",
        "engines", "checks", "data", "comparison", "calibration", "refine"},
    "page": {"matplotlib", "numpy", "onnx", "errors", "parallel", "wording", "numerics", "model",
        "exporting", "planning", "checks", "data", "comparison", "calibration", "emission",
        "refine", "ranking", "reporting"},
    "options": {"yaml", "errors", "parallel", "progress", "wording", "model", "planning",
        "plain_yaml", "reporting"},
    "deployment": {"coremltools", "google", "numpy", "onnx", "tensorrt", "errors", "progress",
        "wording", "numerics", "model", "exporting", "prepare", "planning", "dpu", "artifacts",
        "engines", "checks", "data", "comparison", "emission", "options"},
    "stages": {"onnx", "errors", "progress", "numerics", "model", "exporting", "planning",
        "distributed", "data", "comparison", "calibration", "emission", "refine", "reporting",
        "page", "options", "deployment"},
    "pipeline": {"onnx", "errors", "progress", "wording", "numerics", "model", "exporting",
        "planning", "artifacts", "checks", "distributed", "data", "comparison", "calibration",
        "emission", "refine", "reporting", "page", "options", "deployment", "stages"},
    "training": {"numpy", "onnx", "safetensors", "torch", "errors", "parallel", "progress",
        "wording", "numerics", "model", "exporting", "prepare", "planning", "checks", "data",
        "emission", "refine", "options", "pipeline"},
    "budget": {"onnx", "errors", "parallel", "progress", "wording", "model", "exporting",
        "planning", "checks", "distributed", "data", "comparison", "calibration", "refine",
        "ranking", "reporting", "page", "options", "pipeline"},
    "oq": {"errors", "artifacts", "ranking", "page", "deployment", "pipeline", "training",
        "budget"},
    "demo": {"errors", "model", "planning", "comparison", "pipeline"},
    "commands": {"typer", "errors", "progress", "wording", "model", "exporting", "planning",
        "artifacts", "checks", "doctor", "data", "calibration", "ranking", "reporting", "page",
        "options", "comparison", "deployment", "pipeline", "training", "demo"},
    "cli": {"typer", "errors", "progress", "wording", "model", "planning", "comparison",
        "calibration", "reporting", "options", "pipeline", "budget", "commands"},
    "__main__": {"cli"},
    "aten": {"numpy", "onnx", "torch", "errors", "progress", "wording", "numerics", "model", "data",
        "comparison", "deployment", "training"},
}  # fmt: skip
"""Folder of ``oq/``, or module at its root -> what it imports besides the standard library: folders
and modules of rows above its own, so that there is one direction, and libraries.

Lowest first.  A new folder gets a row here, and says the same in its ``__init__.py``.
"""


def sources() -> Iterator[tuple[str, Path]]:
    """Module name and file of everything in the package."""
    for package, folder in FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            if package == "oq" and parts[0] in {"targets", "calibrators", "bundled"}:
                continue
            yield ".".join((package, *parts)).removesuffix(".__init__"), file


MODULES = dict(sources())


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imports(module: str, *, typing: bool = False) -> tuple[str, ...]:
    """Full names of what ``module`` imports, lazily too; of type-checking blocks on request."""
    return tuple(_imports(module, typing))


def _imports(module: str, typing: bool) -> Iterator[str]:
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not typing:
            skipped.update(inner for part in node.body for inner in ast.walk(part))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def folder(module: str) -> str:
    """``oq.prepare.order`` -> ``prepare``; ``oq.cli`` and ``oq`` themselves are rows of their
    own."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


@cache
def whole(module: str) -> set[str]:
    """What ``module`` imports, as the rows say it."""
    found = {folder(n) if n.partition(".")[0] == "oq" else n.partition(".")[0]
             for n in imports(module, typing=True)}  # fmt: skip
    return found - {folder(module)} - set(sys.stdlib_module_names)


def modules(row: str) -> list[str]:
    return [m for m in MODULES if folder(m) == row]


each = pytest.mark.parametrize("row", sorted({folder(m) for m in MODULES}))
"""A test per folder: one per module would be fifteen hundred."""


@each
def test_a_module_imports_only_what_its_row_allows(row: str) -> None:
    assert row in MAY_IMPORT, f"{row} has no row in MAY_IMPORT"
    for module in modules(row):
        more = whole(module) - {"oq"} - MAY_IMPORT[row]
        assert not more, f"{module} imports {sorted(more)}"


def test_rows_name_what_stands_above_them() -> None:
    """So there is no circle between folders, lazy and type-checking imports included."""
    inside = {folder(m) for m in MODULES}
    above: set[str] = set()
    for row, allowed in MAY_IMPORT.items():
        assert allowed & inside <= above, f"{row} imports {sorted(allowed & inside - above)}"
        above.add(row)


def test_rows_have_no_more_than_is_used() -> None:
    for row, allowed in MAY_IMPORT.items():
        found = set().union(*map(whole, modules(row)))
        assert allowed == found - {"oq"}, f"{row}: {sorted(allowed ^ (found - {'oq'}))}"


def test_the_root_holds_what_a_first_reader_meets() -> None:
    root = [file.name for file in (ROOT / "oq").glob("*.py")]
    assert len(root) <= 14, f"{len(root)} modules at the root of oq/: {sorted(root)}"


def test_a_folder_says_what_it_holds() -> None:
    for package in (m for m, file in MODULES.items() if file.name == "__init__.py"):
        text = ast.get_docstring(tree(package)) or ""
        assert package == "oq" or "import" in text, f"{package} does not say what it may import"


def test_there_are_no_cycles_not_even_lazy_ones() -> None:
    edges = {m: {n for n in imports(m) if n in MODULES and n != "oq"} for m in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for target in sorted(edges[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in edges:
        visit(module, ())


@pytest.mark.parametrize(
    ("package", "owners"),
    [
        ("onnxruntime", {"oq.model.session"}),
        ("openvino", {"oq.engines.openvino"}),
        ("coremltools", {"oq.deployment.coreml.library"}),
        ("tensorrt", {"oq.deployment.trt.build"}),
        ("onnx_graphsurgeon", {f"oq.model.{m}" for m in ("graph", "surgeon", "to_proto")}),
        ("matplotlib", {"oq.page.plot"}),
        (
            "typer",
            {
                "oq.cli",
                "oq.commands.console",
                "oq.commands.flags",
                "oq.commands.layout",
                *(f"oq.commands.{c}" for c in COMMANDS),
            },
        ),
        ("rich", {"oq.progress"}),
        ("ray", {"oq.distributed.blocks", "oq.distributed.cluster", "oq.distributed.tasks"}),
        (
            "torch",
            {
                "oq.exporting.export",
                "oq.exporting.factory",
                "oq.refine.adaround",
                "oq.exporting.trace",
                *(m for m in MODULES if m.startswith(("oq.training.", "oq.aten."))),
                # readers of torch's own files: they evaluate what these call
                *(m for m in MODULES if m.startswith("oq.artifacts.torchfiles.")),
            },
        ),
    ],
)
def test_one_module_speaks_to_a_library(package: str, owners: set[str]) -> None:
    found = {m for m in MODULES if package in {n.partition(".")[0] for n in imports(m)}}
    assert found <= owners and (found or package == "torch")


def test_heavy_libraries_are_imported_when_they_are_used() -> None:
    """At the top of a module they would make every command wait."""
    for module in ("oq", "oq.cli", "oq.__main__", "oq.errors"):
        top = {
            name
            for node in tree(module).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([a.name for a in node.names] if isinstance(node, ast.Import)
                         else [str(node.module)])
        }  # fmt: skip
        heavy = {"numpy", "onnx", "onnxruntime", "rich", "yaml", "torch"}
        assert not heavy & {name.partition(".")[0] for name in top}, module


def test_only_the_command_line_prints() -> None:
    for module in set(MODULES) - {"oq.cli", "oq.commands.console"}:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"print", "sys.exit", "exit"}, f"{module}:{node.lineno}"
                assert not called.startswith(("sys.stdout.w", "sys.stderr.w")), module


@each
def test_files_and_functions_are_short(row: str) -> None:
    for module in modules(row):
        lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
        assert lines <= LINES, f"{module} has {lines} lines"
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= FUNCTION_LINES, f"{module}.{node.name} has {length} lines"


def test_every_module_starts_with_a_sentence() -> None:
    for module in MODULES:
        text = ast.get_docstring(tree(module))
        assert text and text.split("\n\n")[0], module


def test_no_bare_except_and_no_assert_on_what_users_give() -> None:
    for module in MODULES:
        for node in ast.walk(tree(module)):
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), module
            assert not isinstance(node, ast.Assert), f"{module}:{getattr(node, 'lineno', 0)}"


OP_NAMES = (".op", ".op_type")


def test_ops_are_named_in_tables_not_in_chains() -> None:
    """Comparing an op's name outside ops, targets and prepare is a question for review."""
    allowed = {
        *("oq.model.graph", "oq.model.operands", "oq.model.paths", "oq.comparison.compare"),
        *("oq.planning.predicates", "oq.planning.tensorrt"),
        *("oq.checks.legal", "oq.checks.obstacles", "oq.checks.placement"),
    }  # facts of ONNX, predicates, and checks over Q/DQ graphs
    for module in MODULES:
        if module in allowed or module.startswith(("oq.prepare", "oq.targets")):
            continue
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith(
                (".op", ".op_type")
            ):
                others = [c for c in node.comparators if isinstance(c, ast.Constant)]
                assert not others, f"{module}:{node.lineno}: {ast.unparse(node)}"


def test_the_packages_are_importable_by_one_name_only() -> None:
    for name in ("targets", "calibrators"):
        spec = importlib.util.find_spec(f"oq.{name}")
        assert spec is not None and spec.origin is not None
        with pytest.raises(ImportError, match=f"import oq.{name}"):
            importlib.import_module(name)


ACROSS = {
    "architecture", "calibrators", "cli_damage", "deployment.every_model",
    "deployment.models", "derived", "docs", "dpu.rewritten", "end_to_end",
    "examples", "float16_models", "fusions", "fuzz", "inputs", "interrupted", "large_models",
    "light_models", "memory", "models", "notebook", "odd_models", "onnx_suite", "outputs",
    "packaging", "page", "page_browser", "page_charts", "page_cli",
    "prepare.left_out", "real_models", "target_coreml", "target_dpu",
    "site", "target_openvino", "target_ort", "targets", "weighted_layers",
}  # fmt: skip
"""Tests that are of no single module."""


def test_tests_mirror_the_tree() -> None:
    """A test's file lies where its module does, and has its name."""
    modules = {m.removeprefix("oq.") for m in MODULES}
    for file in (ROOT / "tests").rglob("test_*.py"):
        folders = file.parent.relative_to(ROOT / "tests").parts
        name = ".".join((*folders, file.stem.removeprefix("test_")))
        assert name in modules or name in ACROSS, f"tests/{name} is the test of no module"


UNNAMED = 184
"""Modules without a test of their own name: what they do is tested through others.  A new module
gets one, so this number only falls."""


def test_a_new_module_has_a_test_of_its_name() -> None:
    found = {
        ".".join((*f.parent.relative_to(ROOT / "tests").parts, f.stem.removeprefix("test_")))
        for f in (ROOT / "tests").rglob("test_*.py")
    }
    files = (m.removeprefix("oq.") for m, f in MODULES.items() if f.name != "__init__.py")
    lacking = sorted(set(files) - found)
    assert len(lacking) <= UNNAMED, f"{len(lacking)} modules have none: {lacking}"
