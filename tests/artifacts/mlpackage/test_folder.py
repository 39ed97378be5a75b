"""Manifests that name nothing, or what lies elsewhere."""

import json
from pathlib import Path

import pytest

from oq.artifacts.mlpackage.folder import find_model
from oq.errors import ModelError

ITEM = {"path": "com.apple.CoreML/model.mlmodel"}


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("{", "is not a manifest"),
        ("[]", "holds no object"),
        ("{}", "no 'itemInfoEntries'"),
        ({"itemInfoEntries": {"a": ITEM}, "rootModelIdentifier": "b"}, "root model 'b' is none"),
        ({"itemInfoEntries": {"a": {}}, "rootModelIdentifier": "a"}, "has no path"),
        (
            {"itemInfoEntries": {"a": {"path": "x/y"}}, "rootModelIdentifier": "a"},
            "names 'x/y', which is missing",
        ),
        (
            {"itemInfoEntries": {"a": {"path": "../../secret"}}, "rootModelIdentifier": "a"},
            "leads out of the package",
        ),
    ],
)
def test_damage_is_told_in_one_line(manifest: object, said: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("")
    package = tmp_path / "m.mlpackage"
    package.mkdir()
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (package / "Manifest.json").write_text(text)
    with pytest.raises(ModelError, match=said) as told:
        find_model(package)
    assert "\n" not in str(told.value)


def test_a_package_is_a_folder_with_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "file.mlpackage").write_text("")
    with pytest.raises(ModelError, match="a package is a folder"):
        find_model(tmp_path / "file.mlpackage")
    with pytest.raises(ModelError, match=r"cannot read .*Manifest.json"):
        find_model(tmp_path)
