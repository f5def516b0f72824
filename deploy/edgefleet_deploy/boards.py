"""How much memory each kind of board has at most. Torch-free.

The largest variant sold counts, so that a refusal is certain: a smaller one may still be too small, and its agent says
so. Boards that are computers of any size (linux-host) and accelerators on one (coral-usb) have no row.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from edgefleet_compression.precision import Precision

GIB: Final = 1024**3

BOARD_MEMORY_BYTES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "raspberry-pi-3": 1 * GIB,  # product brief Raspberry Pi 3 Model B+: 1GB LPDDR2
        "raspberry-pi-4": 8 * GIB,  # product brief Raspberry Pi 4: 1GB, 2GB, 4GB or 8GB LPDDR4
        "raspberry-pi-5": 16 * GIB,  # product brief Raspberry Pi 5: 1GB to 16GB LPDDR4X
        "jetson-nano": 4 * GIB,  # Jetson Nano data sheet DS-10712: 4GB LPDDR4; the 2GB kit has half of it
        "jetson-orin-nano": 8 * GIB,  # Jetson Orin Nano data sheet DS-11105: 4GB or 8GB LPDDR5
        "coral-dev-board": 4 * GIB,  # Coral Dev Board data sheet: 1 GB or 4 GB LPDDR4
    }
)
"""Board kind -> memory of its largest variant, bytes."""

STORED_BITS: Final[Mapping[Precision, int]] = MappingProxyType(
    {"fp32": 32, "fp16": 16, "int8": 8, "int8-dynamic": 8, "int8-weights": 8, "int4-weights": 4, "int4": 4}
)
"""Bits of one weight in the file: the least that a loaded network can take."""


def least_memory_bytes(n_parameters: int, precision: Precision, activation_elements: int) -> int:
    """Return what a loaded network takes at the very least: its weights once, and its inputs and outputs as float32.

    Runtimes need more (copies in other layouts, the largest feature maps, themselves), so that a network which is too
    large by this figure is certainly too large.
    """
    return n_parameters * STORED_BITS[precision] // 8 + 4 * activation_elements
