"""The import contracts name every module they mean, and the folders are what the contracts think they are."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "agent" / "edgefleet_agent"
OPEN_TO_THE_SERVER = {"wire", "statistics"}
COMPONENT_FOLDERS = ["agent", "controller", "compression", "deploy"]


def contract(name: str) -> "dict[str, list[str]]":
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return next(item for item in configuration["tool"]["importlinter"]["contracts"] if item["name"] == name)


def top_level_modules(package: Path) -> "set[str]":
    files = {path.stem for path in package.glob("*.py")}
    folders = {path.name for path in package.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    return (files | folders) - {"__init__", "__main__", "__pycache__"}


def test_contract_lists_every_agent_module_the_server_may_not_import() -> None:
    listed = set(contract("server sees only the wire and the statistics")["forbidden_modules"])
    expected = {"edgefleet_agent." + name for name in top_level_modules(AGENT) - OPEN_TO_THE_SERVER}
    assert listed == expected


@pytest.mark.parametrize("folder", [*COMPONENT_FOLDERS, "tests"])
def test_component_folders_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_tests_are_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_agent_package_is_empty_for_python_36() -> None:
    """The runner's archive has an empty one too; a line here would be run by an old interpreter."""
    assert (AGENT / "__init__.py").read_bytes() == b""


@pytest.mark.parametrize("package", [AGENT / "measure", AGENT / "loop", AGENT / "cli", AGENT / "runner"])
def test_agent_packages_are_regular(package: Path) -> None:
    assert (package / "__init__.py").is_file()
