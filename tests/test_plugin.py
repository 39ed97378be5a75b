"""The door for plugin authors: it opens to what it names, and docs and examples use no other."""

import ast
import re
from pathlib import Path

import oq
from oq import plugin
from oq.planning import predicates

ROOT = Path(oq.__file__).parents[1]
PUBLIC = {"oq", "oq.plugin"}


def test_all_that_is_imported_is_offered() -> None:
    tree = ast.parse(Path(plugin.__file__).read_text(encoding="utf-8"))
    imported = {a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert imported == set(plugin.__all__) and len(set(plugin.__all__)) == len(plugin.__all__)


def test_every_predicate_of_several_targets_is_offered() -> None:
    """Rows ask them; those in ``ALWAYS`` the plan asks for every row itself."""
    found = {n for n, f in vars(predicates).items()
             if getattr(f, "__module__", "") == predicates.__name__
             and f.__code__.co_varnames[:2] in {("view", "match"), ("_view", "match")}}  # fmt: skip
    assert found - {f.__name__ for f in predicates.ALWAYS} == found & set(plugin.__all__)


def imported(code: str) -> set[str]:
    nodes = ast.walk(ast.parse(code))
    found = {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}
    return {name for name in found if name.partition(".")[0] == "oq"}


def test_examples_and_docs_import_nothing_else() -> None:
    for file in (ROOT / "examples").glob("*.py"):
        assert imported(file.read_text(encoding="utf-8")) <= PUBLIC, file.name
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for block in re.findall(r"```python[^\n]*\n(.*?)```", page.read_text(encoding="utf-8"),
                                re.DOTALL):  # fmt: skip
            assert imported(block) <= PUBLIC, page.name
