"""Every block of code in the documentation is run, and every figure in it is drawn again.

What a fence says behind its three backticks decides:

* ``sh``: each line is an ``oq`` command (or ``python FILE``) and succeeds, or exits as its comment
  says (``# exits with 1``); they run in this process, in one folder per page.
* ``sh skip``, ``python skip``: what cannot run here (installation, other machines).  These are
  counted.
* ``python``: runs, with the names of the page's earlier blocks.
* ``yaml config``, ``yaml preprocess``: oq accepts it.
* ``yaml ci``: the ``oq`` commands in it run, as in ``sh``.
* ``text output``: every line, its numbers apart, was printed by the block in front of it.
* ``text figure TARGET``: the placement as :mod:`tests.figures` draws it.
* ``text``: a formula or a sketch; nothing to run.
"""

import contextlib
import inspect
import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml

import oq
from oq import cli
from oq.data.preprocess import read_preprocess
from oq.errors import EXTRAS
from oq.options.config import DEPLOY_KEYS, KEYS, read_config
from oq.pipeline import make_plan
from oq.planning import registry
from oq.refine.order import STEPS
from tests import figures, reference

ROOT = Path(oq.__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "examples" / "README.md"])
SKIPPED = 12
"""Blocks that are not run, all pages together: installation, and what runs on the target."""

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """``kind`` is the fence's words, ``line`` where it starts."""

    kind: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(m[1].strip(), m[2], text[: m.start()].count("\n") + 1) for m in FENCE.finditer(text)
    ]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(slots=True)
class Page:
    """What the blocks of one page leave to the next: the folder, names, the last output."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)
    printed: str = ""

    def run(self, block: Block) -> None:
        match block.kind.split():
            case ["sh"]:
                self.printed = "".join(self._shell(line) for line in lines(block.text))
            case ["python"]:
                self.printed = self._python(block.text)
            case ["yaml", "config"]:
                (self.folder / "quant.yaml").write_text(block.text)
                assert read_config(self.folder / "quant.yaml")
            case ["yaml", "preprocess"]:
                (self.folder / "preprocess.yaml").write_text(block.text)
                read_preprocess(self.folder / "preprocess.yaml")
            case ["yaml", "ci"]:
                commands = list(oq_commands(yaml.safe_load(block.text)))
                assert commands
                for command in commands:
                    self._shell(command.partition(" >")[0])
            case ["text", "output"]:
                said = {plain(line) for line in self.printed.splitlines()}
                for line in block.text.splitlines():
                    assert plain(line) in said | {"...", ""}, f"nobody printed: {line}"
            case ["text", "figure", target]:
                drawn = figures.figure(make_plan(figures.MODEL, target))
                assert block.text.splitlines() == list(drawn)
            case ["text"] | ["sh" | "python", "skip"]:
                pass
            case _:
                pytest.fail(f"unknown fence {block.kind!r}")

    def _shell(self, line: str) -> str:
        command, _, comment = line.partition("  #")
        words = shlex.split(command)
        expected = re.search(r"exits with (\d)", comment)
        printed = io.StringIO()
        code = 0
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
            patch.setattr(sys, "argv", words)
            if words[0] == "python":
                patch.setattr(sys, "argv", words[1:])
                exec(
                    compile(Path(words[1]).read_text(), words[1], "exec"), {"__name__": "__main__"}
                )
            else:
                assert words[0] == "oq", line
                try:
                    cli.main()
                except SystemExit as end:
                    code = int(end.code or 0)
        assert code == (int(expected[1]) if expected else 0), line
        return printed.getvalue()

    def _python(self, text: str) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text, "block", "exec"), self.names)
        return printed.getvalue()


def oq_commands(document: Any) -> Iterator[str]:
    """Every string in a CI file that is an ``oq`` command, in order."""
    if isinstance(document, str):
        yield from (s for s in document.splitlines() if s.startswith("oq "))
    elif isinstance(document, dict):
        yield from (found for part in document.values() for found in oq_commands(part))
    elif isinstance(document, list):
        yield from (found for part in document for found in oq_commands(part))


def lines(text: str) -> Iterator[str]:
    """Commands of a shell block: continued lines joined, comments and blank lines left out."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def plain(line: str) -> str:
    """``line`` without what differs from run to run: numbers, and the width of columns."""
    return " ".join(re.sub(r"-?\d[\d.,]*", "#", line).split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """model.onnx and other.onnx, calib.npz and eval.npz (few samples: docs should run fast)."""
    bundled = ROOT / "models" / "bundled"
    shutil.copy(bundled / "residual.onnx", tmp_path / "model.onnx")
    shutil.copy(bundled / "transformer.onnx", tmp_path / "transformer.onnx")
    for given, made in (("digits_calib.npz", "calib.npz"), ("digits_eval.npz", "eval.npz")):
        with np.load(bundled / given) as arrays:
            np.savez(tmp_path / made, **{key: arrays[key][:128] for key in arrays})
    for example in (f for f in (ROOT / "examples").iterdir() if f.is_file()):  # no __pycache__
        shutil.copy(example, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(registry, "_added", {kind: {} for kind in ("targets", "calibrators")})
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_blocks_of_a_page_run(page: Path, folder: Path) -> None:
    there = Page(folder)
    for block in blocks(page):
        if "torch" in block.text and block.kind == "python":
            pytest.importorskip("torch")
        if "--plot" in block.text or "oq plot" in block.text:
            pytest.importorskip("matplotlib")
        try:
            there.run(block)
        except BaseException as error:
            error.add_note(f"{name(page)}, line {block.line}")
            raise


def test_few_blocks_are_not_run() -> None:
    skipped = [f"{name(p)}:{b.line}" for p in PAGES for b in blocks(p) if "skip" in b.kind]
    assert len(skipped) <= SKIPPED, skipped


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not link.startswith("https://"):
            assert (page.parent / link).exists(), link


COMMANDS = {
    c.name or str(c.callback.__name__): c.callback
    for c in cli.app.registered_commands
    if c.callback is not None
}


def flags(command: str) -> Iterator[str]:
    """The first long flag of every option of ``command``, but those that all have."""
    options = typer.main.get_command(cli.app).commands[command].params  # type: ignore[attr-defined]
    for option in options:
        if option.param_type_name == "option" and option.name not in ("quiet", "verbose"):
            yield next(o for o in option.opts if o.startswith("--"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_page_that_names_its_flags(command: str) -> None:
    text = (DOCS / "commands" / f"{command}.md").read_text(encoding="utf-8")
    assert inspect.getdoc(COMMANDS[command])
    for flag in flags(command):
        assert f"`{flag}" in text, f"docs/commands/{command}.md says nothing of {flag}"


@pytest.mark.parametrize("kind", ["targets", "calibrators"])
def test_every_target_and_calibrator_has_a_page(kind: str) -> None:
    assert {p.stem for p in (DOCS / kind).glob("*.md")} == set(registry.names(kind))


@pytest.mark.parametrize("target", registry.names("targets"))
def test_the_page_of_a_target_names_its_options_and_checks(target: str) -> None:
    text = (DOCS / "targets" / f"{target}.md").read_text(encoding="utf-8")
    found = registry.target(target)
    for key, values in (found.options or {}).items():
        for value in values:
            assert f"`{key}={value}`" in text
    for check in found.checks:
        name = check if isinstance(check, str) else check.name
        assert f"`{name}`" in text, name
    assert f"text figure {target}" in text


def test_what_is_listed_is_what_there_is() -> None:
    def read(page: str) -> str:
        return (DOCS / page).read_text(encoding="utf-8")

    for step in STEPS:
        assert f"`{step}`" in read("refinement.md"), step
    for key in KEYS:
        assert f"`{key.name}`" in read("commands/config.md"), key.name
    inside = read("commands/config.md").partition("key of `deploy`")[2]
    for key in DEPLOY_KEYS:
        assert f"`{key.name}`" in inside, key.name
    for extra in EXTRAS:
        assert f"`{extra}`" in read("commands/doctor.md"), extra


def test_the_readme_links_to_every_page_of_the_first_level() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert f"docs/{page.name}" in text
    listed = [name(p) for p in PAGES]
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for path in listed:
        if path.startswith("docs/") and path != "docs/README.md":
            assert f"({path.removeprefix('docs/')})" in index, path


def test_no_page_has_an_em_dash() -> None:
    for page in PAGES:
        assert "\u2014" not in page.read_text(encoding="utf-8"), name(page)


def test_the_python_page_is_what_the_docstrings_say() -> None:
    written = (DOCS / "python.md").read_text(encoding="utf-8")
    assert written == reference.page(), "run python -m tests.reference"
    for name_ in oq.__all__:
        assert f"oq.{name_}" in written or f"### {name_}" in written
