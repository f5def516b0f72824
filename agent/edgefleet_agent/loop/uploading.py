"""Raw samples on their way to the controller: a long file goes in parts, after a broken connection on from what arrived."""

from pathlib import Path

from edgefleet_agent.client import ControllerClient, Part
from edgefleet_agent.wire.messages import HeartbeatRequest, ReportRequest

PART_BYTES = 4 * 1024 * 1024
"""Longest part, and longest file that is sent whole. A broken connection, or a proxy that passes on whole requests only,
costs no more than this; at 100 kB/s a part takes less than a lease of 60 s."""


def upload_samples(client: ControllerClient, request: ReportRequest, sha256: str, path: Path) -> None:
    """Store a file of a finished run. Called again after any trouble, it sends what has not arrived yet.

    Raises Unreachable where that may help, and RequestRefused or StaleAttempt where it does not.
    """
    run_id, attempt, size_bytes = request.run_id, request.attempt, path.stat().st_size
    state = client.upload_state(sha256) if size_bytes > PART_BYTES else None
    if state is None:
        client.upload_blob(sha256, path.read_bytes(), run_id=run_id, attempt=attempt)
        return
    if state.is_stored:
        return
    offset, is_last = state.received_bytes, False
    with path.open("rb") as file:
        while not is_last:
            file.seek(offset)
            content = file.read(PART_BYTES)
            is_last = offset + len(content) >= size_bytes
            client.upload_part(sha256, Part(offset, content, is_last), run_id=run_id, attempt=attempt)
            offset += len(content)
            if not is_last:  # the run is held as long as its samples are on their way
                client.heartbeat(HeartbeatRequest(run_id=run_id, attempt=attempt, phase="upload"))
