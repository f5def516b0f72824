"""What we ship of others is what their packages hold, with its licence."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edgefleet_controller.web.assets import asset_address, asset_files

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = (
    ROOT / "controller" / "edgefleet_controller" / "web" / "static" / "vendor",
    ROOT / "tests" / "browser" / "vendor",
)


def manifest(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text())
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=["pages", "tests"])
def test_every_vendored_file_is_listed_with_its_hash(folder: Path) -> None:
    listed = {name: sha256 for package in manifest(folder) for name, sha256 in package["files"].items()}
    present = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert present == listed


@pytest.mark.parametrize("folder", FOLDERS, ids=["pages", "tests"])
def test_every_vendored_package_states_its_licence_and_brings_its_text(folder: Path) -> None:
    for package in manifest(folder):
        assert package["licence"] in ("0BSD", "Apache-2.0", "MPL-2.0")
        assert package["version"]
        assert any(name.endswith("LICENSE") for name in package["files"])


def test_only_known_kinds_of_files_are_handed_out() -> None:
    assert {path.suffix for path in asset_files().values()} == {".css", ".js", ".svg"}
    with pytest.raises(ValueError, match="no asset"):
        asset_address("vendor/manifest.json")


def test_no_page_holds_a_script_a_style_or_a_handler_of_its_own() -> None:
    for path in (ROOT / "controller" / "edgefleet_controller" / "web" / "templates").glob("*.html"):
        text = path.read_text()
        assert "<style" not in text, path.name
        assert " style=" not in text, path.name
        assert " onclick=" not in text, path.name
        assert "<script>" not in text, path.name
        assert "//cdn" not in text, path.name
