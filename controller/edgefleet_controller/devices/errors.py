"""What may be wrong with a device that is named, or that enrols.

InvalidRequest
├── UnknownDeviceNamed           422 unknown_device
├── NoDevices                    422 no_devices
├── DeviceKindMismatch           422 device_kind_mismatch
└── DeviceKeyRefused             422 device_key_refused
NotAuthenticated
└── JoinTokenRefused             401 join_token_refused
NotAllowed
└── JoinTokenMismatch            403 join_token_mismatch
"""

from edgefleet_controller.errors import InvalidRequest, NotAllowed, NotAuthenticated


class UnknownDeviceNamed(InvalidRequest):
    """No device has this name or identifier; list them with `edgefleet device ls`."""

    code = "unknown_device"


class NoDevices(InvalidRequest):
    """No active device could measure this job; enrol one, or release a held one."""

    code = "no_devices"


class DeviceKindMismatch(InvalidRequest):
    """The agent is of another kind (physical, simulated) than its device was registered as."""

    code = "device_kind_mismatch"


class DeviceKeyRefused(InvalidRequest):
    """The device does not prove that it holds its key: a key or signature is missing, malformed or wrong."""

    code, fault = "device_key_refused", "device"


class JoinTokenRefused(NotAuthenticated):
    """The join token is unknown, used or expired; ask for a new one."""

    code = "join_token_refused"


class JoinTokenMismatch(NotAllowed):
    """The join token is for another kind of board or another serial number; nothing was used up."""

    code, fault = "join_token_mismatch", "device"
