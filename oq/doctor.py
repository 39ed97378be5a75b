"""The state of this installation: versions, onnxruntime's providers, extras, threads."""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import oq
from oq.errors import EXTRAS, install_line
from oq.model.session import providers
from oq.parallel import cores

CORE = (
    *("onnx", "onnxruntime", "numpy", "ml_dtypes"),
    *("onnx-graphsurgeon", "pyyaml", "rich", "threadpoolctl", "typer"),
)
"""Required packages, as listed in pyproject.toml."""

PURPOSES: Mapping[str, str] = {
    "torch": "oq export, torch modules, training, --to torchscript and pt2",
    "images": "folders of images",
    "report": "plots as PNG, SVG or PDF",
    "openvino": "oq verify --engine openvino, oq deploy --to openvino",
    "coreml": "oq deploy --to coreml",
    "ray": "--ray: calibration, rankings and searches on a cluster",
}
"""What the packages of an extra are for."""

# onnxruntime is published under one name per accelerator.
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional feature: package -> its version, None if it is not installed."""

    packages: Mapping[str, str | None]
    purpose: str
    install: str

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that are not installed."""
        return tuple(name for name, found in self.packages.items() if found is None)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``packages``: those oq needs, with their versions (None: not installed under that name);
    ``threads``: cores this process may use."""

    oq: str
    python: str
    system: str
    threads: int
    packages: Mapping[str, str | None]
    providers: tuple[str, ...]
    extras: Mapping[str, Extra]


def diagnose() -> Diagnosis:
    """What is installed.  Versions come from package metadata; only onnxruntime is imported, for
    its execution providers."""
    extras = {
        name: Extra({p: _version(p) for p in packages}, PURPOSES[name], install_line(name))
        for name, packages in EXTRAS.items()
    }
    return Diagnosis(
        oq=oq.__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        threads=cores(),
        packages={name: _version(name) for name in CORE},
        providers=providers(),
        extras=extras,
    )


def _version(package: str) -> str | None:
    names = _RUNTIMES if package == "onnxruntime" else (package,)
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def diagnosis_lines(found: Diagnosis) -> Iterator[str]:
    """The diagnosis as text of 80 columns."""
    yield f"oq {found.oq}, Python {found.python}, {found.system}, {found.threads} threads"
    yield ""
    for name, number in found.packages.items():
        yield f"{name:<18} {number or 'not installed'}"
    yield f"{'providers':<18} {found.providers[0] if found.providers else 'none'}"
    for name in found.providers[1:]:
        yield f"{'':<18} {name}"
    yield ""
    for name, extra in found.extras.items():
        if extra.missing:
            missing = ", ".join(extra.missing)
            yield f"{name:<10} missing {missing}: {extra.install}"
        else:
            there = ", ".join(f"{p} {number}" for p, number in extra.packages.items())
            yield f"{name:<10} {there}"
        yield f"{'':<10} for {extra.purpose}"
