"""Coral's accelerators on this board: labels, what a run may be told of them, and what stands in their way."""

import grp
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edgefleet_agent.measure.environment import THIS_HOST, Roots
from edgefleet_agent.runner.edgetpu_devices import Accelerator, find_accelerators
from edgefleet_agent.wire.base import JsonObject

USB_3_MBIT_S = 5000
"""SuperSpeed, USB 3.0; a model took 49 ms behind USB 2 and 15 ms behind USB 3 (aallan's benchmark, 2019)."""

RULES_FOLDERS = ("etc/udev/rules.d", "lib/udev/rules.d", "usr/lib/udev/rules.d")
GROUPS = {"usb": "plugdev", "pci": "apex"}
"""Groups that the device files belong to (libedgetpu, debian/edgetpu-accelerator.rules; coral.ai/docs/m2/get-started)."""


@dataclass(frozen=True)
class Obstacle:
    """Something about an accelerator. ``level`` is ok or warning."""

    subject: str
    level: str
    text: str
    advice: str = ""


def accelerators(roots: Roots = THIS_HOST) -> list[Accelerator]:
    """The accelerators that the kernel sees."""
    return find_accelerators(str(roots.sys))


def has_coral_usb(roots: Roots) -> bool:
    """Is a Coral USB accelerator plugged in?"""
    return any(item.bus == "usb" for item in accelerators(roots))


def coral_labels(roots: Roots) -> dict[str, str]:
    """Labels ``accelerator`` and, over USB, ``accelerator_usb_mbit_s``; none without an accelerator."""
    found = accelerators(roots)
    if not found:
        return {}
    speed = found[0].usb_mbit_s
    return {
        "accelerator": "coral-" + found[0].bus,
        **({} if speed is None else {"accelerator_usb_mbit_s": str(speed)}),
    }


def coral_options(manifest: JsonObject) -> JsonObject:
    """What the runner can't see in a file compiled for the Edge TPU: the share of its products that runs there."""
    share = (manifest.get("edgetpu") or {}).get("macs_share")
    return {} if share is None else {"macs_share": share}


def describe_accelerators(
    found: Sequence[Accelerator], *, runtime_missing: bool, root: Path = Path("/"), groups: Optional[set[str]] = None
) -> list[Obstacle]:
    """How each accelerator is, and what to do about it; a runtime without an accelerator is an obstacle as well.

    runtime_missing: no interpreter loads libedgetpu. groups: names of this account's groups.
    """
    if not found:
        if runtime_missing:
            return []
        text = "none is plugged in, though libedgetpu is installed"
        return [
            Obstacle("Edge TPU", "warning", text, "plug one in, and look with lsusb (18d1:9302, 1a6e:089a) or lspci")
        ]
    mine = own_groups() if groups is None else groups
    return [obstacle for item in found for obstacle in _describe(item, runtime_missing, root, mine)]


def _describe(item: Accelerator, runtime_missing: bool, root: Path, groups: set[str]) -> list[Obstacle]:
    subject = "Edge TPU {} {}".format(item.bus, item.ids)
    found = [
        _library(subject, runtime_missing),
        _link(subject, item),
        _access(subject, item, root, groups),
    ]
    obstacles = [obstacle for obstacle in found if obstacle is not None]
    speed = "" if item.usb_mbit_s is None else ", {} Mbit/s".format(item.usb_mbit_s)
    return obstacles or [Obstacle(subject, "ok", "{}{}".format(item.node, speed))]


def _library(subject: str, runtime_missing: bool) -> Optional[Obstacle]:
    if not runtime_missing:
        return None
    advice = "add Google's package repository coral-edgetpu-stable and install libedgetpu1-std, with ai-edge-litert or "
    return Obstacle(subject, "warning", "no interpreter loads libedgetpu", advice + "tflite-runtime beside it")


def _link(subject: str, item: Accelerator) -> Optional[Obstacle]:
    if item.usb_mbit_s is None or item.usb_mbit_s >= USB_3_MBIT_S:
        return None
    text = "linked at {} Mbit/s (USB 2): figures are slower than behind USB 3".format(item.usb_mbit_s)
    return Obstacle(subject, "warning", text, "use a USB 3 port and the cable that came with it, if this board has one")


def _access(subject: str, item: Accelerator, root: Path, groups: set[str]) -> Optional[Obstacle]:
    if item.node is None:
        return Obstacle(subject, "warning", "the kernel made no device file", "install gasket-dkms, then load apex")
    if os.access(item.node, os.R_OK | os.W_OK):
        return None
    group = GROUPS[item.bus]
    if not has_udev_rule(item, root):
        advice = "install libedgetpu1-std, which brings the rule, and plug the device in again"
        return Obstacle(subject, "warning", "no udev rule opens {} to the group {}".format(item.node, group), advice)
    if group not in groups:
        advice = "add the account to it (adduser ACCOUNT {}) and start the agent again".format(group)
        return Obstacle(subject, "warning", "this account is not in the group {}".format(group), advice)
    return Obstacle(subject, "warning", "{} can't be opened".format(item.node), "plug the device in again")


def has_udev_rule(item: Accelerator, root: Path = Path("/")) -> bool:
    """Whether some rule names the device: by its ids over USB, by the subsystem apex over PCI."""
    words = item.ids.split(":") if item.bus == "usb" else ["apex"]
    rules = [path for folder in RULES_FOLDERS for path in sorted((root / folder).glob("*.rules"))]
    return any(all(word in path.read_text(errors="replace") for word in words) for path in rules)


def own_groups() -> set[str]:
    """Names of the groups this process is in."""
    names: set[str] = set()
    for number in {*os.getgroups(), os.getegid()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            continue  # a group without a name
    return names
