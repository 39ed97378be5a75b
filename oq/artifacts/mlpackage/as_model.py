"""A package in the place of the ONNX model that it was made from: ``oq verify``, ``oq inspect``."""

from dataclasses import replace
from pathlib import Path

from oq.artifacts.mlpackage.images import find_pixels
from oq.artifacts.mlpackage.package import Package
from oq.artifacts.mlpackage.package import open_file as open_package


def open_file(path: str | Path) -> Package:
    """The package at ``path``, whose image inputs take the values of the ONNX model: what goes in
    are the pixels that become these by the package's own scale and bias, not rounded.

    Raises:
        ModelError: it is damaged, no ML program, or holds what oq does not read.
    """
    package = open_package(path)
    return replace(package, pixels=find_pixels(package.description, package.program))
