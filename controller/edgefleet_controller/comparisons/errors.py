"""What may be wrong with a comparison that is asked for.

InvalidRequest
├── RuntimeMissing               422 runtime_missing
└── DeviceCannotCompare          422 device_cannot_compare
"""

from edgefleet_controller.errors import InvalidRequest


class RuntimeMissing(InvalidRequest):
    """The device does not have the runtime that an artifact needs; choose another device, or install it there."""

    code = "runtime_missing"


class DeviceCannotCompare(InvalidRequest):
    """Only physical devices compare latencies; choose one."""

    code = "device_cannot_compare"
