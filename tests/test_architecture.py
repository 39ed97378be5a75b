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
    "oq": {"budget", "errors", "pipeline", "rank"},
    "oq.errors": set(),
    "oq.spec": {"numpy"},
    "oq.ops": set(),
    "oq.view": {"spec"},
    "oq.grid": {"ml_dtypes", "numpy", *VALUES},
    "oq.target": {"spec", "grid", "ops", "view", "errors"},
    "oq.predicates": {"numpy", *RULES},
    "oq.qdq": {"numpy", *GRAPHS},
    "oq.obstacles": {"numpy", *RULES, "predicates", "qdq"},
    "oq.cost": {"view"},
    "oq.unite": {*RULES, "predicates"},
    "oq.statistics": {"numpy", *VALUES},
    "oq.tally": {"numpy", *VALUES, "grid", "statistics"},
    "oq.weights": {"numpy", *VALUES, "grid"},
    "oq.readers": {"numpy", *GRAPHS, "calibrator"},
    "oq.calibrator": {"numpy", *VALUES, "grid", "statistics"},
    "oq.targets": set(),
    "oq.speed": {*RULES, "predicates"},
    "oq.tensorrt": {*RULES, "predicates"},
    "oq.targets.*": {*RULES, "dpu", "obstacles", "predicates", "speed", "tensorrt"},
    "oq.calibrators": set(),
    "oq.calibrators.*": {
        *{"numpy", *VALUES},
        *{"calibrator", "calibrators", "grid", "statistics", "tally"},
    },
    # models
    "oq.files": {"onnx", "google", "errors"},
    "oq.shell": {"onnx", "spec"},
    "oq.graph": {"numpy", "onnx", "onnx_graphsurgeon", *VALUES, "shell", "view"},
    "oq.prepare": set(),
    "oq.prepare.*": {"numpy", "onnx", *GRAPHS, "graph", "prepare", "session"},
    "oq.session": {"numpy", "onnx", "onnxruntime", *VALUES, "files"},
    # engines
    "oq.engine": {"onnx", *VALUES, "session"},
    "oq.engines": set(),
    "oq.engines.*": {"onnx", "openvino", *VALUES, "dpu", "engine", "files", "ops", "session"},
    # stages
    "oq.wanted": {*RULES, "predicates"},
    "oq.plan": {*RULES, "predicates", "unite", "wanted"},
    "oq.collect": {"numpy", "onnx", *VALUES, "session", "statistics", "view"},
    "oq.overrides": {*VALUES, "target", "view"},
    "oq.solve": {
        *{"numpy", *VALUES},
        *{"calibrator", "grid", "readers", "statistics", "target", "view", "weights"},
    },
    "oq.refine": set(),
    "oq.refine.*": {"numpy", "onnx", "torch", *GRAPHS,
        *{"data", "deviation", "emit", "graph", "grid", "measure"},
        *{"predicates", "ready", "refine", "registry", "session", "solve"},
        *{"statistics"}},
    "oq.sanity": {*VALUES, "compare", "ops", "plan", "statistics"},
    "oq.cache": {"numpy", "onnx", *VALUES, "collect", "files", "statistics"},
    "oq.ranges": {"numpy", *VALUES, "files"},
    "oq.emit": {"numpy", *VALUES, "graph", "grid", "solve", "view"},
    "oq.half": {"numpy", "onnx", *VALUES, "graph", "view"},
    # what was lost, and where
    "oq.deviation": {"numpy", *VALUES},
    "oq.metrics": {"numpy", *VALUES, "deviation"},
    "oq.compare": {"numpy", "onnx", *VALUES, "deviation", "engine", "layers", "metrics", "session"},
    "oq.shared": {"numpy", "onnx", *VALUES, "qdq", "session", "view"},
    "oq.shares": {"numpy", "onnx", *VALUES, "deviation", "session", "shared", "view"},
    "oq.layers": {"numpy", "onnx", *VALUES,
        *{"deviation", "graph", "session", "shared", "shares", "view"}},
    "oq.variants": {"numpy", "onnx", *VALUES,
        *{"deviation", "emit", "files", "graph", "session", "solve"}},
    "oq.rank": {*GRAPHS, *{"measure", "overrides", "plan", "progress", "ready"},
        *{"session", "solve", "target", "variants"}},
    "oq.ranking": {"errors", "files", "rank", "report"},
    "oq.plot": {"matplotlib", "errors", "files", "layers", "page", "rank"},
    # the page: values, what gathers them, charts, writing
    "oq.page": set(),
    "oq.page.content": {"compare", "legal", "rank", "refine"},
    "oq.page.places": {"numpy", *GRAPHS, "grid", "qdq", "solve"},
    "oq.page.measured": {"numpy", *GRAPHS, *{"calibrator", "grid", "measure", "page", "readers"},
        *{"registry", "statistics", "tally"}},
    "oq.page.constants": {"numpy", *GRAPHS, "page", "weights"},
    "oq.page.layout": {*GRAPHS, "forecast", "page"},
    "oq.page.gather": {"onnx", *GRAPHS, *{"calibrator", "collect", "data", "graph", "judgement"},
        *{"measure", "page", "ready", "refine", "statistics", "target"}},
    "oq.page.svg": set(),
    "oq.page.style": set(),
    "oq.page.errors": {"page", "rank"},
    "oq.page.document": {"compare", "engine", "page", "report"},
    "oq.page.tell": {"onnx", *{"budget", "compare", "data", "files", "ops", "outlook", "page"},
        *{"provenance", "rank", "ready", "registry", "report"}},
    "oq.page.write": {"errors", "files", "page", "rank", "ranking", "report"},
    "oq.page.read": {"errors", "layers", "page", "rank", "ranking"},
    "oq.page.*": {"layers", "page"},
    # the DPU's arithmetic
    "oq.dpu": set(),
    "oq.dpu.exact": {"numpy", "spec"},
    "oq.dpu.factors": set(),
    "oq.dpu.windows": {"numpy", "spec"},
    "oq.dpu.kernels": {"numpy", "spec", "dpu"},
    "oq.dpu.checks": {"numpy", *GRAPHS, "dpu", "predicates"},
    "oq.dpu.legalize": {"numpy", *RULES, "dpu", "grid"},
    "oq.dpu.limits": set(),
    "oq.dpu.lost": {"numpy", *RULES},
    "oq.dpu.places": {*GRAPHS, "dpu", "predicates"},
    "oq.dpu.positions": {"dpu"},
    "oq.dpu.refusals": {*RULES, "dpu"},
    "oq.dpu.scales": {"numpy", "spec"},
    "oq.dpu.simulate": {"numpy", "onnx", *GRAPHS, "dpu", "graph", "predicates", "session"},
    "oq.guard": {"graph", "legal", "ops", "qdq", "view"},
    "oq.placement": {*GRAPHS, "predicates", "qdq"},
    "oq.float16": {"numpy", *GRAPHS, "placement", "qdq"},
    "oq.legal": {"numpy", *RULES, "dpu", "float16", "placement", "qdq"},
    "oq.plain": {"numpy", *GRAPHS, "qdq"},
    "oq.forecast": {*RULES, "cost", "plain", "plan", "predicates", "qdq"},
    "oq.subgraphs": {"onnx"},
    "oq.judgement": {"onnx", *VALUES, *{"forecast", "graph", "legal", "prepare", "subgraphs"},
        *{"target", "view"}},
    # data
    "oq.preprocess": {"numpy", "yaml", *VALUES},
    "oq.sources": set(),
    "oq.sources.*": {"numpy", "onnx", "google", "PIL", *VALUES, "preprocess", "sources"},
    "oq.sampling": {"numpy", *VALUES, "sources"},
    "oq.data": {"numpy", *VALUES, "preprocess", "sampling", "sources"},
    # export
    "oq.factory": {"torch", "errors"},
    "oq.trace": {"torch", "onnx_ir", "onnxscript", "errors", "factory"},
    "oq.export": {
        *{"numpy", "onnx", "torch", "onnxscript", *VALUES},
        *{"factory", "files", "session", "trace"},
    },
    # outside
    "oq.report": {"budget", "refine", *VALUES, "compare", "deviation", "layers", "legal", "ops"},
    "oq.explain": {*GRAPHS, "report"},
    "oq.outlook": {"forecast", "judgement", "legal", "report"},
    "oq.questions": {"explain", "judgement", "legal", "overrides", "ready", "spec"},
    "oq.registry": {*VALUES, "calibrator", "target"},
    "oq.measure": {"onnx", *VALUES, *{"cache", "calibrator", "collect", "data", "session"},
        *{"statistics", "view"}},
    "oq.ready": {"onnx", "torch", *GRAPHS, *{"collect", "data", "export", "files", "graph"},
        *{"measure", "overrides", "plan", "predicates", "prepare", "ranges", "registry", "target"}},
    "oq.config": {"yaml", "errors", "overrides"},
    "oq.remarks": {"data", "ready", "sampling"},
    "oq.provenance": {"onnx", *{"cache", "compare", "measure", "ready"}},
    "oq.written": {"onnx", *{"emit", "guard", "half", "legal", "ready", "refine", "statistics"}},
    "oq.progress": {"rich"},
    "oq.pipeline": {"onnx", *GRAPHS, *{"cache", "collect", "compare", "config", "data"},
        *{"files", "page", "written"},
        *{"engine", "layers", "legal", "measure", "metrics", "overrides"},
        *{"progress", "provenance", "questions", "ready", "refine", "registry", "remarks"},
        *{"report", "sanity", "session", "solve", "statistics", "target"}},
    "oq.budget": set(),
    "oq.budget.trial": set(),
    "oq.budget.outcome": set(),
    "oq.budget.strategy": {"budget"},
    "oq.budget.journal": {"budget", "errors", "files"},
    "oq.budget.score": {"onnx", "budget", "compare", "data", "errors", "ready", "session",
        "target"},
    "oq.budget.proxy": {"onnx", "budget", *{"cost", "data", "measure", "overrides", "rank"},
        *{"ready", "refine", "session", "solve", "variants", "view"}},
    "oq.budget.run": {"onnx", "budget", *{"cache", "compare", "config", "data", "errors"},
        *{"judgement", "measure", "overrides", "page", "pipeline", "progress"},
        *{"ready", "refine", "target"}},
    "oq.doctor": {"session"},
    "oq.demo": {"pipeline", "registry", "files", "compare"},
    "oq.flags": {"typer", "yaml", *{"config", "errors", "overrides", "registry"}},
    "oq.console": {"typer", "report"},
    "oq.commands": set(),
    "oq.commands.*": {"typer", *{"console", "errors", "flags", "progress"}, *{"cache", "demo"},
        *{"config", "doctor", "explain", "export", "files", "outlook", "page", "pipeline", "plot"},
        *{"rank", "ranking", "registry", "report"}},
    "oq.cli": {"budget", "typer", "errors", "flags", "progress", "ranges", "session",
        *{"commands", "compare", "console", "files", "pipeline", "provenance", "registry"},
        "report"},
    "oq.__main__": {"cli"},
}  # fmt: skip
"""Module -> what it imports besides the standard library: packages, and parts of oq by first name.

A module that is not named and whose package has no ``.*`` row fails the test: give it a row.
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
    assert row in MAY_IMPORT, f"{module} has no row in MAY_IMPORT"
    found = {part(name) for name in imports(module, typing=True)} - set(sys.stdlib_module_names)
    assert found - {""} <= MAY_IMPORT[row]


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
        ("typer", {"oq.cli", "oq.console", "oq.flags", *(f"oq.commands.{c}" for c in COMMANDS)}),
        ("rich", {"oq.progress"}),
        ("torch", {"oq.export", "oq.factory", "oq.refine.adaround", "oq.trace"}),
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
    for module in set(MODULES) - {"oq.cli", "oq.console"}:
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
    allowed = {"oq.legal", "oq.predicates", "oq.graph", "oq.compare", "oq.tensorrt"}
    allowed |= {"oq.obstacles", "oq.placement"}  # predicates and checks over Q/DQ graphs
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
