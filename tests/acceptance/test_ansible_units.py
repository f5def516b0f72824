"""The units that the roles write, rendered by Ansible and judged by systemd's own tools."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROLES = Path(__file__).resolve().parents[2] / "ansible" / "roles"
UNITS = {
    "edgefleet-agent": ("agent_common", 2.5),
    "edgefleet-controller": ("controller", 2.0),
    "edgefleet-governor": ("raspberry_pi", 6.0),
    "edgefleet-clocks": ("jetson_nano", 10.0),
}
"""Unit -> its role, and the highest exposure that systemd-analyze may find (0 safe, 10 not confined). The last one only
starts the vendor's jetson_clocks, which writes all over /sys and is not known well enough to confine it."""

PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: ["{roles}/{role}/defaults/main.yml"]
  tasks:
    - ansible.builtin.template: {{src: "{roles}/{role}/templates/{unit}.service.j2", dest: "{root}/{unit}.service", mode: "0644"}}
"""


def ansible_playbook() -> str:
    """The program; skips where Ansible is not installed."""
    folder = os.environ.get("EDGEFLEET_ANSIBLE")
    found = shutil.which("ansible-playbook", path=folder) if folder else None
    if found is None:
        pytest.skip("EDGEFLEET_ANSIBLE names no folder with ansible-playbook: run `make lint-ansible`")
    return found


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all units; the programs that they start exist in it."""
    program = ansible_playbook()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    root = tmp_path_factory.mktemp("units")
    for name in ("edgefleet", "edgefleet-agent"):
        path = root / "venv" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    plays = "".join(PLAYBOOK.format(roles=ROLES, role=role, unit=unit, root=root) for unit, (role, _) in UNITS.items())
    (root / "render.yml").write_text(plays)
    environment = os.environ | {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"}
    prefixes = f"agent_common_prefix={root} controller_prefix={root}"
    done = subprocess.run(
        [program, str(root / "render.yml"), "--extra-vars", prefixes],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_every_line(units: Path, unit: str) -> None:
    said = analyze("verify", "--man=no", str(units / f"{unit}.service")).stderr.splitlines()
    # only a Jetson has the vendor's program
    mine = [line for line in said if unit in line and "/usr/bin/jetson_clocks is not executable" not in line]
    assert mine == []


@pytest.mark.parametrize("unit", UNITS)
def test_the_exposure_stays_below_its_bound(units: Path, unit: str) -> None:
    threshold = str(round(UNITS[unit][1] * 10))
    done = analyze("security", "--offline=true", f"--threshold={threshold}", str(units / f"{unit}.service"))
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_no_unit_and_no_settings_file_holds_a_join_token() -> None:
    templates = [path.read_text() for path in ROLES.glob("*/templates/*")]
    assert len(templates) >= len(UNITS)
    assert not [text for text in templates if "JOIN_TOKEN" in text or "join_token" in text]
