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
LONG_FUNCTIONS = {
    "oq.pipeline.quantize": "the stages in order, one after the other",
    "oq.pipeline.verify": "the stages of a comparison, one after the other",
    "oq.cli.quantize": "one parameter per flag",
    "oq.cli.verify": "one parameter per flag",
}
"""Functions above 60 lines, each with its reason."""

COMMANDS = ("calibrate", "look", "make", "plot", "sensitivity")

VALUES = {"errors", "spec"}
GRAPHS = {*VALUES, "ops", "view"}
RULES = {*GRAPHS, "target"}
MAY_IMPORT: dict[str, set[str]] = {
    # values and tables
    "oq": {"budget", "errors", "pipeline", "ranking"},
    "oq.errors": set(),
    "oq.spec": {"numpy"},
    "oq.ops": set(),
    "oq.view": {"spec"},
    "oq.grid": {"ml_dtypes", "numpy", *VALUES},
    "oq.target": {"errors", "grid", "ops", "spec", "view"},
    "oq.predicates": {"numpy", *RULES},
    "oq.qdq": {"numpy", *GRAPHS},
    "oq.checks.obstacles": {"numpy", *RULES, "predicates", "qdq"},
    "oq.cost": {"view"},
    "oq.layers": {"numpy", *GRAPHS, "predicates"},
    "oq.zero_points": {*GRAPHS, "layers", "predicates"},
    "oq.unite": {*RULES, "predicates"},
    "oq.statistics": {"numpy", *VALUES},
    "oq.tally": {"numpy", *VALUES, "grid", "statistics"},
    "oq.weights": {"numpy", *VALUES, "grid"},
    "oq.calibration.readers": {"numpy", *GRAPHS, "calibrator"},
    "oq.calibrator": {"numpy", *VALUES, "grid", "statistics"},
    "oq.speed": {*RULES, "predicates"},
    "oq.tensorrt": {*RULES, "predicates"},
    "oq.targets.*": {*RULES, "checks", "dpu", "predicates", "speed", "tensorrt"},
    "oq.calibrators.*": {"numpy", *VALUES, "calibrator", "calibrators", "grid", "statistics",
        "tally"},
    # models
    "oq.files": {"onnx", "google", "errors"},
    "oq.imports": set(),
    "oq.protos": {"numpy", "onnx"},
    "oq.shell": {"onnx", "spec"},
    "oq.graph": {"numpy", "onnx", "onnx_graphsurgeon", *VALUES, "shell", "view"},
    "oq.prepare.*": {"numpy", "onnx", *GRAPHS, "graph", "predicates", "prepare", "session",
        "speed", "weights"},
    "oq.parallel": set(),
    "oq.session": {"numpy", "onnx", "onnxruntime", *VALUES, "files", "parallel", "protos"},
    # engines
    "oq.engine": {"onnx", *VALUES, "session"},
    "oq.engines.*": {"onnx", "openvino", *VALUES, "dpu", "engine", "files", "ops", "session"},
    # stages
    "oq.wanted": {*RULES, "predicates"},
    "oq.plan": {*RULES, "predicates", "unite", "wanted"},
    "oq.answers": GRAPHS,
    "oq.calibration.collect": {"numpy", "onnx", *VALUES, "parallel", "session",
        "statistics", "view"},
    "oq.overrides": {*VALUES, "target", "view"},
    "oq.solve": {"numpy", *VALUES, "calibration", "calibrator", "grid", "statistics", "target",
        "view", "weights"},
    "oq.refine.*": {"numpy", "onnx", "torch", *GRAPHS, "add_bias", "answers", "calibration",
        "comparison", "data", "emit", "graph", "grid", "layers", "parallel", "predicates",
        "prepare", "protos", "ready", "refine", "registry", "session", "solve", "statistics",
        "target", "weights"},
    "oq.calibration.sanity": {*VALUES, "comparison", "ops", "plan", "statistics"},
    "oq.calibration.cache": {"numpy", "onnx", *VALUES, "calibration", "files", "statistics"},
    "oq.calibration.ranges": {"numpy", *VALUES, "files"},
    "oq.emit": {"numpy", *VALUES, "graph", "grid", "solve", "view"},
    "oq.add_bias": {*VALUES, "graph", "layers"},
    "oq.carry": {"numpy", *VALUES, "add_bias", "graph", "grid", "layers", "solve", "weights",
        "zero_points"},
    "oq.half": {"numpy", "onnx", *VALUES, "graph", "qdq", "view"},
    # what was lost, and where
    "oq.comparison.deviation": {"numpy", *VALUES},
    "oq.comparison.metrics": {"numpy", *VALUES, "comparison", "imports"},
    "oq.comparison.compare": {"numpy", "onnx", *VALUES, "comparison", "engine", "session"},
    "oq.comparison.shared": {"numpy", "onnx", *VALUES, "qdq", "session", "view"},
    "oq.comparison.shares": {"numpy", "onnx", *VALUES, "comparison", "session", "view"},
    "oq.comparison.layers": {"numpy", "onnx", *VALUES, "comparison", "graph", "session", "view"},
    "oq.ranking.variants": {"numpy", "onnx", *VALUES, "comparison", "emit", "files", "graph",
        "grid", "session", "solve", "zero_points"},
    "oq.ranking.rank": {*GRAPHS, "calibration", "overrides", "parallel", "progress", "ranking",
        "ready", "refine", "session", "target"},
    "oq.ranking.table": {"errors", "files", "ranking", "report"},
    "oq.plot": {"matplotlib", "comparison", "errors", "files", "page", "ranking"},
    # the page: values, what gathers them, charts, writing
    "oq.page.content": {"comparison", "legal", "ranking", "refine"},
    "oq.page.places": {"numpy", *GRAPHS, "grid", "qdq", "solve"},
    "oq.page.measured": {"numpy", *GRAPHS, "calibration", "calibrator", "grid", "page",
        "registry", "statistics", "tally"},
    "oq.page.constants": {"numpy", *GRAPHS, "page", "weights"},
    "oq.page.layout": {*GRAPHS, "checks", "page"},
    "oq.page.gather": {"onnx", *GRAPHS, "calibration", "calibrator", "checks", "data", "graph",
        "page", "ready", "refine", "statistics", "target"},
    "oq.page.svg": set(),
    "oq.page.style": set(),
    "oq.page.errors": {"page", "ranking"},
    "oq.page.document": {"comparison", "engine", "page", "refine", "report"},
    "oq.page.tell": {"onnx", "budget", "checks", "comparison", "data", "files", "ops", "page",
        "provenance", "ranking", "ready", "registry", "report"},
    "oq.page.write": {"errors", "files", "page", "ranking", "report"},
    "oq.page.read": {"comparison", "errors", "page", "ranking"},
    "oq.page.*": {"comparison", "page"},
    # the DPU's arithmetic
    "oq.dpu.exact": {"numpy", "spec"},
    "oq.dpu.factors": set(),
    "oq.dpu.windows": {"numpy", "spec"},
    "oq.dpu.kernels": {"numpy", "dpu", "spec"},
    "oq.dpu.checks": {*GRAPHS, "checks", "dpu", "predicates", "qdq"},
    "oq.dpu.legalize": {"numpy", *RULES, "dpu", "grid"},
    "oq.dpu.limits": set(),
    "oq.dpu.lost": {"numpy", *RULES, "grid", "weights"},
    "oq.dpu.places": {*GRAPHS, "dpu", "predicates", "qdq"},
    "oq.dpu.positions": {"dpu"},
    "oq.dpu.refusals": {*RULES, "dpu", "predicates"},
    "oq.dpu.scales": {"numpy", "spec"},
    "oq.dpu.simulate": {"numpy", "onnx", *GRAPHS, "dpu", "graph", "predicates", "protos",
        "session"},
    "oq.guard": {"graph", "legal", "ops", "qdq", "view"},
    "oq.checks.placement": {*GRAPHS, "predicates", "qdq"},
    "oq.checks.float16": {"numpy", *GRAPHS, "checks", "qdq"},
    "oq.legal": {"numpy", *RULES, "checks", "dpu", "qdq"},
    "oq.checks.plain": {"numpy", *GRAPHS, "qdq"},
    "oq.checks.forecast": {*RULES, "checks", "cost", "plan", "predicates", "qdq"},
    "oq.checks.subgraphs": {"onnx", "protos"},
    "oq.checks.judgement": {"onnx", *VALUES, "checks", "graph", "legal", "prepare", "target",
        "view"},
    # data
    "oq.data.preprocess": {"numpy", "yaml", *VALUES},
    "oq.data.sources.*": {"numpy", "onnx", "google", "PIL", *VALUES, "data", "imports"},
    "oq.data.sampling": {"numpy", *VALUES, "data"},
    "oq.data.source": {"numpy", *VALUES, "data"},
    # export
    "oq.exporting.factory": {"torch", "errors", "imports"},
    "oq.exporting.trace": {"torch", "onnx_ir", "onnxscript", "errors", "exporting"},
    "oq.exporting.export": {"numpy", "onnx", "torch", "onnxscript", *VALUES, "exporting",
        "files", "imports", "session"},
    # outside
    "oq.report": {*VALUES, "budget", "comparison", "legal", "ops", "refine"},
    "oq.explain": {*GRAPHS, "report"},
    "oq.checks.outlook": {"checks", "legal", "report"},
    "oq.questions": {"checks", "explain", "legal", "overrides", "ready", "spec"},
    "oq.registry": {*VALUES, "calibrator", "target"},
    "oq.calibration.measure": {"onnx", *VALUES, "calibration", "calibrator", "data", "parallel",
        "session", "statistics", "view"},
    "oq.ready": {"onnx", "torch", *GRAPHS, "answers", "calibration", "data", "exporting",
        "files", "graph", "overrides", "plan", "prepare", "registry", "target", "zero_points"},
    "oq.config": {"yaml", "errors", "overrides"},
    "oq.remarks": {"data", "ready"},
    "oq.provenance": {"onnx", "calibration", "comparison", "ready"},
    "oq.written": {"onnx", "carry", "emit", "guard", "half", "legal", "ready", "refine",
        "report", "statistics"},
    "oq.progress": {"rich"},
    "oq.pipeline": {"onnx", *GRAPHS, "calibration", "comparison", "config", "data", "engine",
        "files", "legal", "overrides", "page", "progress", "provenance", "questions", "ready",
        "refine", "registry", "remarks", "report", "session", "solve", "statistics", "target",
        "written"},
    "oq.budget.trial": set(),
    "oq.budget.outcome": set(),
    "oq.budget.strategy": {"budget"},
    "oq.budget.journal": {"budget", "errors", "files"},
    "oq.budget.score": {"onnx", "budget", "comparison", "data", "errors", "ready", "session",
        "target"},
    "oq.budget.proxy": {"onnx", "budget", "calibration", "cost", "data", "overrides", "ranking",
        "ready", "refine", "session", "solve", "view"},
    "oq.budget.run": {"onnx", "budget", "calibration", "checks", "comparison", "config", "data",
        "errors", "overrides", "page", "pipeline", "progress", "ready", "refine", "target"},
    "oq.doctor": {"parallel", "session"},
    "oq.demo": {"comparison", "files", "pipeline", "registry"},
    "oq.commands.flags": {"typer", "yaml", "config", "errors", "overrides", "registry"},
    "oq.commands.console": {"typer", "report"},
    "oq.commands.*": {"typer", "calibration", "checks", "commands", "config", "demo", "doctor",
        "errors", "explain", "exporting", "files", "page", "pipeline", "plot", "progress",
        "ranking", "registry", "report"},
    "oq.cli": {"typer", "budget", "calibration", "commands", "comparison", "errors", "files",
        "pipeline", "progress", "provenance", "registry", "report", "session"},
    "oq.__main__": {"cli"},
}  # fmt: skip
"""Module -> what it imports besides the standard library: packages, and parts of oq by first name.

A module that is not named and whose package has no ``.*`` row fails the test: give it a row.
The file that makes a folder a package imports nothing.
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


def imports(module: str, *, typing: bool = False) -> Iterator[str]:
    """Full names of what ``module`` imports, lazily too; of type-checking blocks on request."""
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


def part(name: str) -> str:
    """``oq.prepare.order`` -> ``prepare``, ``numpy.typing`` -> ``numpy``."""
    first, _, rest = name.partition(".")
    return rest.partition(".")[0] if first == "oq" else first


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_row_allows(module: str) -> None:
    row = module if module in MAY_IMPORT else module.rpartition(".")[0] + ".*"
    package = MODULES[module].name == "__init__.py"
    assert package or row in MAY_IMPORT, f"{module} has no row in MAY_IMPORT"
    found = {part(name) for name in imports(module, typing=True)} - set(sys.stdlib_module_names)
    assert found - {""} <= MAY_IMPORT.get(row, set())


def test_the_table_has_no_dead_rows() -> None:
    packages = {m.rpartition(".")[0] + ".*" for m in MODULES}
    assert set(MAY_IMPORT) <= set(MODULES) | packages


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
        ("onnxruntime", {"oq.session"}),
        ("openvino", {"oq.engines.openvino"}),
        ("onnx_graphsurgeon", {"oq.graph"}),
        ("matplotlib", {"oq.plot"}),
        (
            "typer",
            {
                "oq.cli",
                "oq.commands.console",
                "oq.commands.flags",
                *(f"oq.commands.{c}" for c in COMMANDS),
            },
        ),
        ("rich", {"oq.progress"}),
        (
            "torch",
            {
                "oq.exporting.export",
                "oq.exporting.factory",
                "oq.refine.adaround",
                "oq.exporting.trace",
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


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_are_short(module: str) -> None:
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= LINES
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if f"{module}.{node.name}" not in LONG_FUNCTIONS:
                assert length <= FUNCTION_LINES, f"{module}.{node.name} has {length} lines"
            assert length <= 110, f"{module}.{node.name} has {length} lines"


def test_exceptions_to_the_length_are_needed() -> None:
    for name in LONG_FUNCTIONS:
        module, _, function = name.rpartition(".")
        found = next(
            n for n in tree(module).body if isinstance(n, ast.FunctionDef) and n.name == function
        )
        assert (found.end_lineno or 0) - found.lineno + 1 > FUNCTION_LINES, f"{name} is short now"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_starts_with_a_sentence(module: str) -> None:
    text = ast.get_docstring(tree(module))
    assert text and text.split("\n\n")[0]


def test_no_bare_except_and_no_assert_on_what_users_give() -> None:
    for module in MODULES:
        for node in ast.walk(tree(module)):
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), module
            assert not isinstance(node, ast.Assert), f"{module}:{getattr(node, 'lineno', 0)}"


OP_NAMES = (".op", ".op_type")


def test_ops_are_named_in_tables_not_in_chains() -> None:
    """Comparing an op's name outside ops, targets and prepare is a question for review."""
    allowed = {"oq.legal", "oq.predicates", "oq.graph", "oq.comparison.compare", "oq.tensorrt"}
    allowed |= {
        "oq.checks.obstacles",
        "oq.checks.placement",
    }  # predicates and checks over Q/DQ graphs
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
