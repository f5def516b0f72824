"""Everything the agent raises.

AgentError
├── SettingsInvalid        an option or the settings file makes no sense
├── UpdateFailed           a new version of the agent was not taken; the present one stays
├── MeasurementFailed      a run can't be measured; becomes the report's coded error
├── DownloadFailed         a file did not arrive whole; resume or give up
│   ├── HashMismatch       ... and what arrived is not what was ordered
│   └── DiskFull           ... and there is no room for it
└── ControllerError        the controller could not be asked
    ├── Unreachable        network or server trouble; try again
    ├── CredentialRefused  this board is not (or no longer) welcome; stop
    ├── UpgradeNeeded      this agent is too old; stop
    ├── StaleAttempt       the run belongs to somebody else now; drop it
    └── RequestRefused     anything else; do not send the same again
DrainRequested is no error: it leaves a wait when the agent is told to stop.
"""

from typing import Optional

from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import CodedError


class AgentError(Exception):
    """Root of the agent's errors; ``code`` is stable and the message says what to do next."""

    code = "agent_error"


class SettingsInvalid(AgentError):
    """An option, an environment variable or the settings file makes no sense."""

    code = "settings_invalid"


class UpdateFailed(AgentError):
    """A new version of the agent was not taken, and the present one goes on; the message says why."""

    code = "update_failed"


class MeasurementFailed(AgentError):
    """A run could not be measured."""

    def __init__(self, code: ErrorCode, message: str, detail: Optional[JsonObject] = None) -> None:
        super().__init__(message)
        self.error = CodedError(code=code, message=message, detail=detail or {})
        self.code = code.value


class DownloadFailed(AgentError):
    """A file did not arrive whole; asking again resumes where it stopped."""

    code = "download_failed"


class HashMismatch(DownloadFailed):
    """The bytes received are not the file that was ordered; the blob is damaged at its source or on the way."""

    code = "artifact_hash_mismatch"


class DiskFull(DownloadFailed):
    """There is no room for the file even after clearing the cache; free some space."""

    code = "disk_full"


class ControllerError(AgentError):
    """The controller could not be asked."""

    code = "controller_error"


class Unreachable(ControllerError):
    """The controller did not answer, or answered that it can't now; trying again later may help."""

    code = "controller_unreachable"

    def __init__(self, message: str, retry_after_s: Optional[float] = None, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.retry_after_s, self.status = retry_after_s, status


class CredentialRefused(ControllerError):
    """The controller refuses this board's credential or join token; ask for a new join token and enrol again."""

    code = "credential_refused"


class UpgradeNeeded(ControllerError):
    """The controller speaks a newer protocol; upgrade edgefleet-agent on this board."""

    code = "upgrade_needed"


class StaleAttempt(ControllerError):
    """The run was leased to somebody else meanwhile; drop it."""

    code = "stale_attempt"


class RequestRefused(ControllerError):
    """The controller refuses this request; sending it again changes nothing."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class DrainRequested(Exception):
    """Leaves an idle wait when the agent is told to stop."""
