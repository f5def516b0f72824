"""What a device's failures say about the device; pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgefleet_agent.wire.reasons import ErrorCode

JsonObject = dict[str, Any]

BOARD_FAULTS = frozenset(
    {
        ErrorCode.INTERPRETER_MISSING.value,
        ErrorCode.RUNNER_CRASHED.value,
        ErrorCode.RUNNER_KILLED.value,
        ErrorCode.RUNNER_HUNG.value,
        ErrorCode.RUNNER_PROTOCOL.value,
        ErrorCode.ACCELERATOR_ERROR.value,
        ErrorCode.ACCELERATOR_MISSING.value,
        ErrorCode.DISK_FULL.value,
        ErrorCode.INTERNAL.value,
        "lease_expired",
    }
)
"""Codes that may be the board's own doing; the others say something about the file, the order or the person."""

MAX_KEPT = 10


def failure_of(run_id: str, artifact_sha256: str | None, error: Mapping[str, Any]) -> JsonObject | None:
    """The entry of a failed run in its device's list; None where the device cannot be to blame."""
    if error.get("code") not in BOARD_FAULTS:
        return None
    return {
        "run_id": run_id,
        "artifact_sha256": artifact_sha256,
        "code": error["code"],
        "message": str(error.get("message", ""))[:300],
    }


def with_failure(failures: Sequence[Mapping[str, Any]], failure: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The list with another failure; a run counts once, however often it was tried."""
    others = [one for one in failures if one["run_id"] != failure["run_id"]]
    return [*others, failure][-MAX_KEPT:]


def why_quarantine(failures: Sequence[Mapping[str, Any]], limit: int) -> str | None:
    """Why the device is to be taken out of service; None where it may go on.

    So many runs in a row have failed, of at least two files: one file that fails everywhere is not the board's fault.
    """
    if limit == 0 or len(failures) < limit or len({one["artifact_sha256"] for one in failures}) < min(2, limit):
        return None
    named = ", ".join(f"{one['run_id']} ({one['code']})" for one in failures[-limit:])
    return f"{len(failures)} runs in a row failed on this board: {named}"
