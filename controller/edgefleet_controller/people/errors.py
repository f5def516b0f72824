"""What may be wrong with a user that is named, or with a password.

InvalidRequest
├── UnknownUserNamed             422 unknown_user
└── PasswordRefused              422 password_refused
"""

from edgefleet_controller.errors import InvalidRequest


class UnknownUserNamed(InvalidRequest):
    """No user has this name or identifier; list them with `edgefleet user ls`."""

    code = "unknown_user"


class PasswordRefused(InvalidRequest):
    """The password is too short, too long, or the present one is not right."""

    code = "password_refused"
