"""What may be wrong with a profile that is to be imported.

InvalidRequest
├── UnknownProfileFormat         422 unknown_profile_format
└── ProfileRefused               422 profile_refused
Conflict
└── DeviceIsABoard               409 device_is_a_board
"""

from edgefleet_controller.errors import Conflict, InvalidRequest


class UnknownProfileFormat(InvalidRequest):
    """There is no such format of profiles; the message lists the formats."""

    code = "unknown_profile_format"


class ProfileRefused(InvalidRequest):
    """The file is no profile of this format, or holds no latencies; the message says what is wrong and where."""

    code = "profile_refused"


class DeviceIsABoard(Conflict):
    """A board of the fleet has this name; its figures and those of other tools are kept apart. Choose another name."""

    code = "device_is_a_board"
