"""Which Edge TPUs the kernel sees, and over which link."""

import glob
import os
from typing import List, NamedTuple, Optional

USB_IDS = (("1a6e", "089a"), ("18d1", "9302"))
"""USB vendor and product of the Coral accelerator before and after its firmware is loaded (libedgetpu,
debian/edgetpu-accelerator.rules)."""

PCI_IDS = (("0x1ac1", "0x089a"),)
"""PCI vendor and device of the Coral modules and of the Dev Board's chip (coral.ai/docs/m2/get-started: lspci 089a)."""


class Accelerator(NamedTuple):
    """``bus`` is usb or pci. ``node``: the device file, None where the kernel made none. ``usb_mbit_s``: the link's speed,
    480 behind USB 2 and 5000 behind USB 3; None elsewhere.
    """

    bus: str
    ids: str
    node: "Optional[str]"
    usb_mbit_s: "Optional[int]"


def find_accelerators(sys_root: str = "/sys", dev_root: str = "/dev") -> "List[Accelerator]":
    """All accelerators that are there, the USB ones first."""
    folders = sorted(glob.glob(os.path.join(sys_root, "bus/usb/devices/*")))
    found = [_usb(folder, dev_root) for folder in folders if _ids(folder, "idVendor", "idProduct") in USB_IDS]
    nodes = [os.path.join(dev_root, os.path.basename(path)) for path in sorted(glob.glob(sys_root + "/class/apex/*"))]
    pci = [
        folder
        for folder in sorted(glob.glob(os.path.join(sys_root, "bus/pci/devices/*")))
        if _ids(folder, "vendor", "device") in PCI_IDS
    ]
    for number, folder in enumerate(pci):
        ids = ":".join(part[2:] for part in _ids(folder, "vendor", "device"))
        found.append(Accelerator("pci", ids, nodes[number] if number < len(nodes) else None, None))
    return found


def _usb(folder: str, dev_root: str) -> Accelerator:
    bus, device, speed = (_read(os.path.join(folder, name)) for name in ("busnum", "devnum", "speed"))
    node = os.path.join(dev_root, "bus/usb", bus.zfill(3), device.zfill(3)) if bus and device else None
    ids = ":".join(_ids(folder, "idVendor", "idProduct"))
    return Accelerator("usb", ids, node, int(speed) if speed.isdigit() else None)


def _ids(folder: str, vendor: str, product: str) -> "tuple[str, str]":
    return _read(os.path.join(folder, vendor)), _read(os.path.join(folder, product))


def _read(path: str) -> str:
    try:
        with open(path) as handle:
            return handle.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""
