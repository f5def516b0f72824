"""Coral accelerators as the kernel shows them, and what the doctor says of them."""

import os
from pathlib import Path

import pytest

from edgefleet_agent.inventory import detect_board
from edgefleet_agent.measure.coral import (
    Obstacle,
    coral_labels,
    coral_options,
    describe_accelerators,
    has_udev_rule,
    own_groups,
)
from edgefleet_agent.measure.environment import Roots
from edgefleet_agent.runner.edgetpu_devices import Accelerator, find_accelerators

# libedgetpu, debian/edgetpu-accelerator.rules
RULES = (
    'SUBSYSTEM=="usb",ATTRS{idVendor}=="1a6e",ATTRS{idProduct}=="089a",GROUP="plugdev"\n'
    'SUBSYSTEM=="usb",ATTRS{idVendor}=="18d1",ATTRS{idProduct}=="9302",GROUP="plugdev"\n'
)
RULES_FILE = "lib/udev/rules.d/60-libedgetpu1-std.rules"
ABSENT_NODE = "/nowhere/bus/usb/002/003"
USB = Accelerator("usb", "18d1:9302", ABSENT_NODE, 5000)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    for name in ("proc", "sys"):
        (tmp_path / name).mkdir()
    return Roots(proc=tmp_path / "proc", sys=tmp_path / "sys")


def plug_in(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def plug_in_usb(roots: Roots, vendor: str = "18d1", product: str = "9302", speed: str = "5000") -> None:
    files = {"idVendor": vendor, "idProduct": product, "speed": speed, "busnum": "2", "devnum": "3"}
    plug_in(roots.sys / "bus/usb/devices/2-1", **files)


def plug_in_pci(roots: Roots, *, with_driver: bool = True) -> None:
    plug_in(roots.sys / "bus/pci/devices/0000:01:00.0", vendor="0x1ac1", device="0x089a")
    if with_driver:
        (roots.sys / "class/apex/apex_0").mkdir(parents=True)


class TestDevices:
    def test_usb_accelerator_has_its_device_file_and_link(self, roots: Roots) -> None:
        plug_in_usb(roots)
        plug_in(roots.sys / "bus/usb/devices/1-1", idVendor="046d", idProduct="c52b", speed="12")

        found = find_accelerators(str(roots.sys))
        assert found == [Accelerator("usb", "18d1:9302", "/dev/bus/usb/002/003", 5000)]

    @pytest.mark.parametrize(("with_driver", "node"), [(True, "/dev/apex_0"), (False, None)])
    def test_pci_accelerator(self, roots: Roots, with_driver: bool, node: "str | None") -> None:
        plug_in_pci(roots, with_driver=with_driver)
        assert find_accelerators(str(roots.sys)) == [Accelerator("pci", "1ac1:089a", node, None)]

    def test_none_on_a_bare_host(self, roots: Roots) -> None:
        assert find_accelerators(str(roots.sys)) == []
        assert coral_labels(roots) == {}
        assert detect_board(roots) == "linux-host"

    def test_speed_that_is_no_number_is_unknown(self, roots: Roots) -> None:
        plug_in_usb(roots, speed="unknown")
        assert coral_labels(roots) == {"accelerator": "coral-usb"}

    def test_labels_tell_usb_2_from_usb_3(self, roots: Roots) -> None:
        plug_in_usb(roots, vendor="1a6e", product="089a", speed="480")
        assert coral_labels(roots) == {"accelerator": "coral-usb", "accelerator_usb_mbit_s": "480"}

    def test_pci_accelerator_makes_no_coral_usb_board(self, roots: Roots) -> None:
        plug_in_pci(roots)
        assert coral_labels(roots) == {"accelerator": "coral-pci"}
        assert detect_board(roots) == "linux-host"


class TestOptions:
    def test_share_comes_from_the_manifest(self) -> None:
        assert coral_options({"edgetpu": {"macs_share": 0.5}}) == {"macs_share": 0.5}

    @pytest.mark.parametrize("manifest", [{}, {"edgetpu": None}, {"edgetpu": {"macs_share": None}}])
    def test_unknown_share_is_left_out(self, manifest: "dict[str, object]") -> None:
        assert coral_options(manifest) == {}


class TestDoctor:
    def advise(
        self,
        root: Path,
        found: "list[Accelerator] | None" = None,
        *,
        runtime_missing: bool = False,
        groups: "tuple[str, ...]" = ("plugdev",),
    ) -> "list[Obstacle]":
        devices = [USB] if found is None else found
        return describe_accelerators(devices, runtime_missing=runtime_missing, root=root, groups=set(groups))

    def test_host_without_coral_is_not_bothered(self, tmp_path: Path) -> None:
        assert self.advise(tmp_path, [], runtime_missing=True) == []

    def test_library_without_an_accelerator(self, tmp_path: Path) -> None:
        (found,) = self.advise(tmp_path, [])
        assert (found.level, "none is plugged in" in found.text) == ("warning", True)

    def test_missing_udev_rule(self, tmp_path: Path) -> None:
        (found,) = self.advise(tmp_path)
        assert "no udev rule" in found.text
        assert "libedgetpu1-std" in found.advice

    def test_missing_group(self, tmp_path: Path) -> None:
        rules = tmp_path / RULES_FILE
        rules.parent.mkdir(parents=True)
        rules.write_text(RULES)
        (found,) = self.advise(tmp_path, groups=("users",))
        assert found.text == "this account is not in the group plugdev"
        (found,) = self.advise(tmp_path)
        assert "plug the device in again" in found.advice

    def test_missing_library(self, tmp_path: Path) -> None:
        found = self.advise(tmp_path, runtime_missing=True)
        assert found[0].text == "no interpreter loads libedgetpu"
        assert "coral-edgetpu-stable" in found[0].advice

    def test_usb_2_is_a_warning_and_usb_3_is_fine(self, tmp_path: Path) -> None:
        node = tmp_path / "node"
        node.touch()
        slow, fast = (USB._replace(node=str(node), usb_mbit_s=speed) for speed in (480, 5000))
        assert [item.level for item in self.advise(tmp_path, [slow])] == ["warning"]
        assert self.advise(tmp_path, [fast]) == [
            Obstacle("Edge TPU usb 18d1:9302", "ok", "{}, 5000 Mbit/s".format(node))
        ]

    def test_pci_without_its_driver(self, tmp_path: Path) -> None:
        (found,) = self.advise(tmp_path, [Accelerator("pci", "1ac1:089a", None, None)])
        assert "gasket" in found.advice

    @pytest.mark.parametrize(
        ("text", "is_there"), [(RULES, True), ('SUBSYSTEM=="usb",ATTRS{idVendor}=="18d1"\n', False), ("", False)]
    )
    def test_rule_names_vendor_and_product(self, tmp_path: Path, text: str, is_there: bool) -> None:
        rules = tmp_path / "etc/udev/rules.d/99-coral.rules"
        rules.parent.mkdir(parents=True)
        rules.write_text(text)
        assert has_udev_rule(USB, tmp_path) is is_there

    def test_own_groups_have_names(self) -> None:
        assert all(isinstance(name, str) for name in own_groups())
        assert len(own_groups()) <= len({*os.getgroups(), os.getegid()})
