"""Whether a device could carry out a run at all; pure. What it could not is said before any time is spent."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import CodedError
from edgefleet_controller.db.tables import Device
from edgefleet_controller.dispatch.runtime_versions import is_new_enough
from edgefleet_deploy.targets import Target

ACTIVATION_BYTES = 4
"""Of one element while it is computed: float32; integers are smaller, but are often widened on the way."""


def boards_of(device: Device) -> set[str]:
    """Kinds of board that the device is: its own, and that of an accelerator plugged into it."""
    facts = device.facts or {}
    labels = {**(facts.get("labels") or {}), **(device.labels or {})}
    kinds = {device.board, facts.get("board"), labels.get("accelerator")}
    return {kind for kind in kinds if isinstance(kind, str)}


def is_board_of(target: Target, device: Device) -> bool:
    """Whether the target's files run on the device's kind of board."""
    return not target.boards or bool(boards_of(device) & set(target.boards))


def why_unsuitable(target: Target, manifest: Mapping[str, Any], device: Device) -> CodedError | None:
    """The error of a run that the device could never carry out; None where it could, or where its facts are unknown."""
    if not is_board_of(target, device):
        return CodedError(
            code=ErrorCode.BOARD_MISMATCH,
            message=f"Target {target.name} runs on {', '.join(target.boards)}; {device.name} is {device.board}. Submit the "
            "job for a device of these boards.",
            detail={"boards": list(target.boards), "device": sorted(boards_of(device))},
        )
    if device.facts is None:
        return None
    return (
        _lacks_runtime(target, device) or _has_old_runtime(target, manifest, device) or _lacks_memory(manifest, device)
    )


def _lacks_runtime(target: Target, device: Device) -> CodedError | None:
    found = [str(item.get("name")) for item in (device.facts or {}).get("runtimes") or ()]
    if target.runtime in found:
        return None
    listed = ", ".join(found) or "no runtime"
    return CodedError(
        code=ErrorCode.RUNTIME_UNAVAILABLE,
        message=f"{device.name} has no {target.runtime}: its agent found {listed}. Install it there (`edgefleet-agent "
        "doctor` says what is missing), restart the agent, and submit the job again.",
        detail={"runtime": target.runtime, "found": found},
    )


def _has_old_runtime(target: Target, manifest: Mapping[str, Any], device: Device) -> CodedError | None:
    """The error where every runtime of the board that the target names is older than the file says it needs."""
    needed = manifest.get("min_runtime_version")
    runtimes = (device.facts or {}).get("runtimes") or ()
    found = [str(item.get("version")) for item in runtimes if item.get("name") == target.runtime]
    if is_new_enough(target.runtime, needed, found):
        return None
    return CodedError(
        code=ErrorCode.RUNTIME_UNAVAILABLE,
        message=f"The file needs {target.runtime} {needed} or newer, {device.name} has {', '.join(found)}. Update it there, "
        "restart the agent, and submit the job again; or compile for an older target (`edgefleet targets`).",
        detail={"runtime": target.runtime, "needed": needed, "found": found},
    )


def _lacks_memory(manifest: Mapping[str, Any], device: Device) -> CodedError | None:
    memory_bytes = int((device.facts or {}).get("memory_bytes") or 0)
    needed_bytes = estimate_memory_bytes(int(manifest["size_bytes"]), manifest.get("operators") or ())
    if memory_bytes == 0 or needed_bytes <= memory_bytes:
        return None
    return CodedError(
        code=ErrorCode.MODEL_TOO_LARGE,
        message=f"The file needs at least {needed_bytes:,} bytes of memory, {device.name} has {memory_bytes:,} in all. "
        "Compress the model further, or choose a device with more memory.",
        detail={"needed_bytes": needed_bytes, "memory_bytes": memory_bytes},
    )


def estimate_memory_bytes(size_bytes: int, operators: Sequence[Mapping[str, Any]]) -> int:
    """Least memory for one inference: the file's constants, and the inputs and outputs of the largest operator.

    A lower bound: it refuses what can't run, and promises nothing about what it lets pass.
    """
    largest = max((int(item["activation_elements"]) for item in operators), default=0)
    return size_bytes + ACTIVATION_BYTES * largest
