"""What is installed: every folder of the package, its data files, and nothing else."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import oq

ROOT = Path(oq.__file__).parents[1]
BESIDE = shutil.ignore_patterns(".git", "__pycache__", "build", "*.egg-info", ".*_cache", ".venv")
"""What lies beside the sources and is none of them."""

PACKAGES = sorted(p.parent for p in (ROOT / "oq").rglob("__init__.py"))
"""Every folder of ``oq/`` that is a package, itself included; targets and such lie beside it."""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_packages_are_the_folders(project: dict[str, Any]) -> None:
    tool = project["tool"]["setuptools"]
    folders = {".".join(p.relative_to(ROOT).parts) for p in PACKAGES}
    assert set(tool["packages"]) == folders | set(tool["package-dir"])
    for name, folder in tool["package-dir"].items():
        assert (ROOT / folder / "__init__.py").is_file()
        # What a checkout sees under the package's own folder is the same folder.
        assert (ROOT / Path(*name.split("."))).resolve() == (ROOT / folder).resolve()


def test_the_version_is_said_once_more_and_equal(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == oq.__version__


def test_the_command_is_there(project: dict[str, Any]) -> None:
    module, _, function = project["project"]["scripts"]["oq"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_torch_is_optional(project: dict[str, Any]) -> None:
    needed = " ".join(project["project"]["dependencies"])
    for heavy in ("torch", "pillow", "matplotlib", "scikit"):
        assert heavy not in needed
    extras = project["project"]["optional-dependencies"]
    assert any(line.startswith("torch") for line in extras["torch"])
    everything = extras["all"][0].removeprefix("onnx-oq[").removesuffix("]").split(",")
    assert set(everything) == set(extras) - {"all", "dev", "docs"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    # Built from a copy: setuptools leaves build/ and egg-info/ beside what it builds.
    source = shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=BESIDE)
    return build_wheel(source, folder)


def build_wheel(source: Path, folder: Path) -> zipfile.ZipFile:
    """The wheel of a source tree or an sdist, made in ``folder`` without a network."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--quiet", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_data(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    wanted = {"oq/py.typed"}
    for folder, package in (
        (ROOT / "targets", "oq/targets"),
        *((ROOT / "calibrators", "oq/calibrators"), (ROOT / "models" / "bundled", "oq/bundled")),
        *((p, p.relative_to(ROOT).as_posix()) for p in PACKAGES),
    ):
        wanted |= {f"{package}/{p.name}" for p in folder.glob("*.py")}
    bundled = ROOT / "models" / "bundled"
    wanted |= {f"oq/bundled/{p.name}" for p in bundled.iterdir() if p.is_file()}
    assert wanted <= names
    assert {n.partition("/")[0] for n in names} == {"oq", f"onnx_oq-{oq.__version__}.dist-info"}
    inside = {n for n in names if n.startswith("oq/")}
    assert inside == wanted


@pytest.mark.slow
def test_the_wheel_holds_the_licences(wheel: zipfile.ZipFile) -> None:
    names = [n.rpartition("/")[2] for n in wheel.namelist() if ".dist-info/" in n]
    assert {"LICENSE", "LICENSE-digits.txt", "entry_points.txt"} <= set(names)


@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "site")
    code = (
        "import oq, oq.planning.registry as r, sys; from importlib.resources import files\n"
        "assert oq.__file__.startswith(sys.argv[1]), oq.__file__\n"
        "print(*r.names('targets'), *r.names('calibrators'))\n"
        "print(len([f for f in files('oq.bundled').iterdir() if f.name.endswith('.onnx')]))"
    )
    site = str(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-c", code, site],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": site, "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    listed, models = done.stdout.splitlines()
    assert {"ort", "trt", "minmax"} <= set(listed.split())
    assert int(models) == 3


@pytest.mark.slow
def test_a_wheel_built_from_the_sdist_is_the_same(
    wheel: zipfile.ZipFile, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The sdist holds all that is needed to build: its wheel equals that of the checkout."""
    source = shutil.copytree(ROOT, tmp_path / "source", symlinks=True, ignore=BESIDE)
    code = "import sys, setuptools.build_meta as b; print(b.build_sdist(sys.argv[1]))"
    made = tmp_path_factory.mktemp("sdist")
    done = subprocess.run(
        [sys.executable, "-c", code, str(made)],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (archive,) = made.glob("onnx_oq-*.tar.gz")
    assert archive.name == f"onnx_oq-{oq.__version__}.tar.gz"
    with tarfile.open(archive) as packed:
        inside = {name.partition("/")[2] for name in packed.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml"} <= inside
    again = build_wheel(archive, tmp_path)
    contents = {n: again.read(n) for n in again.namelist() if n.startswith("oq/")}
    assert contents == {n: wheel.read(n) for n in wheel.namelist() if n.startswith("oq/")}
