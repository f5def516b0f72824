"""What the dispatch may do, as plain rules over rows: every difference between two looks at the store needs a reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

ENDED = ("completed", "failed", "cancelled")


class Kind(StrEnum):
    """How a fleet can betray its user."""

    LOST = "runs_lost"
    TWICE = "runs_double_counted"
    STALE = "stale_writes_accepted"
    OTHER = "inconsistencies"


class Violation(AssertionError):
    """A rule was broken."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(f"{kind.value}: {message}")
        self.kind = kind


@dataclass(frozen=True)
class RunRow:
    """A run as the store has it. ``expires_s`` counts from the clock's start."""

    run_id: str
    variant_id: str
    device_id: str
    state: str
    attempt: int
    cancel_requested: bool
    expires_s: float | None
    result: tuple[int, str] | None
    """attempt and hash of the accepted report"""


@dataclass(frozen=True)
class Operation:
    """What was asked of the controller, whether or not it lived to answer. Fields name whom it may touch."""

    name: str
    device_id: str | None = None
    run_id: str | None = None
    attempt: int | None = None
    variant_ids: frozenset[str] = frozenset()
    status: int | None = None
    """of the answer; null when there was none"""
    at_s: float = 0.0
    lease_s: float = 60.0
    max_attempts: int = 3
    revoked: frozenset[str] = frozenset()
    """devices whose runs nobody will do any more"""


Rows = Mapping[str, RunRow]


@dataclass
class ReferenceModel:
    """The rows at the last look, and the rules of what may follow."""

    rows: dict[str, RunRow] = field(default_factory=dict)
    told_s: dict[tuple[str, int], float] = field(default_factory=dict)
    """the latest end of a lease that an agent may have been told, by run and attempt; the store may learn of it later"""
    last_told_s: dict[tuple[str, int], float] = field(default_factory=dict)
    """the end that it was told last, which is earlier where the clock was set back in between"""

    def observe(self, operation: Operation, rows: Rows) -> None:
        """Violation unless every change is one that this operation may make."""
        for run_id in self.rows.keys() - rows.keys():
            raise Violation(Kind.LOST, f"{run_id} is gone after {operation}")
        self._hear(operation)
        _require_one_lease_each(rows)
        _require_one_run_each(rows)
        for run_id, row in rows.items():
            before = self.rows.get(run_id)
            if before is None:
                _require_new(operation, row)
            elif before != row:
                _require_reason(operation, self._as_told(before), row)
                self._require_told(operation, before, row)
        self._require_effect(operation, rows)
        self.rows = dict(rows)

    def _hear(self, operation: Operation) -> None:
        """Remember what agents are told of their leases."""
        if operation.name == "claim":  # it may have got its run again, with a new end, and the answer may be lost
            mine = {run_id for run_id, row in self.rows.items() if row.device_id == operation.device_id}
            self.last_told_s = {key: end_s for key, end_s in self.last_told_s.items() if key[0] not in mine}
        if operation.name == "heartbeat" and operation.run_id is not None and operation.attempt is not None:
            key, end_s = (operation.run_id, operation.attempt), operation.at_s + operation.lease_s
            self.told_s[key] = max(self.told_s.get(key, 0.0), end_s)
            if operation.status in (None, 200):
                self.last_told_s[key] = end_s

    def _as_told(self, row: RunRow) -> RunRow:
        """The row with the end of the lease that its agent was told last, where that is the earlier one."""
        end_s = self.last_told_s.get((row.run_id, row.attempt))
        if row.state != "leased" or row.expires_s is None or end_s is None:
            return row
        return replace(row, expires_s=min(row.expires_s, end_s))

    def _require_told(self, operation: Operation, before: RunRow, after: RunRow) -> None:
        """A lease grows by its own heartbeats, stored at once or a little later, and by nothing else."""
        if after.expires_s == before.expires_s or (before.state, before.attempt) != (after.state, after.attempt):
            return
        told_s = self.told_s.get((after.run_id, after.attempt), 0.0)
        is_repeated = operation.name == "claim" and operation.device_id == after.device_id
        if after.expires_s is None or (after.expires_s > told_s and not is_repeated):
            raise Violation(Kind.STALE, f"{operation} moved the end of a lease: {before} -> {after}, told {told_s}")

    def _require_effect(self, operation: Operation, rows: Rows) -> None:
        """What the controller answered is what the store says."""
        if operation.run_id is None or operation.status != 200:
            return
        row = rows.get(operation.run_id)
        if row is None:
            raise Violation(Kind.LOST, f"{operation} was answered with success about a run that is not there")
        if operation.name == "report" and (row.result is None or row.state not in ENDED):
            raise Violation(Kind.LOST, f"a report was accepted and is not stored: {operation}, {row}")
        if operation.name in ("claim", "heartbeat") and (row.state, row.attempt) != ("leased", operation.attempt):
            raise Violation(Kind.STALE, f"{operation} succeeded, the store says {row}")


def _require_one_lease_each(rows: Rows) -> None:
    holders = [row.device_id for row in rows.values() if row.state == "leased"]
    if len(holders) != len(set(holders)):
        raise Violation(Kind.TWICE, f"a device holds two runs: {holders}")


def _require_one_run_each(rows: Rows) -> None:
    pairs = Counter((row.variant_id, row.device_id) for row in rows.values())
    if twice := [pair for pair, n_runs in pairs.items() if n_runs > 1]:
        raise Violation(Kind.TWICE, f"variants with two runs for one device: {twice}")


def _require_new(operation: Operation, row: RunRow) -> None:
    if operation.name != "dispatch" or row.variant_id not in operation.variant_ids:
        raise Violation(Kind.TWICE, f"{row} appeared with {operation}")
    if row.state not in ("queued", "failed") or row.result is not None:
        raise Violation(Kind.OTHER, f"{row} is new and not queued")


def _require_reason(operation: Operation, before: RunRow, after: RunRow) -> None:
    if before.result is not None and after.result != before.result:
        raise Violation(Kind.TWICE, f"a stored result changed with {operation}: {before} -> {after}")
    if after.result is not None and before.result is None:
        _require_own_attempt(operation, before)
        if after.result[0] != before.attempt or after.state not in ENDED:
            raise Violation(Kind.STALE, f"a result of another attempt: {before} -> {after}")
    if before.state in ENDED and after != before:
        raise Violation(Kind.TWICE, f"a run that had ended changed with {operation}: {before} -> {after}")
    if after.attempt != before.attempt:
        _require_lease(operation, before, after)
    elif after.state != before.state:
        _require_transition(operation, before, after)
    if after.cancel_requested != before.cancel_requested and operation.name != "cancel":
        raise Violation(Kind.OTHER, f"{operation} asked for a cancel: {before} -> {after}")


def _require_lease(operation: Operation, before: RunRow, after: RunRow) -> None:
    requeued = before.state == "queued" or _may_be_taken_back(operation, before)
    if operation.name != "claim" or operation.device_id != after.device_id or not requeued:
        raise Violation(Kind.STALE, f"leased by {operation}: {before} -> {after}")
    if after.attempt != before.attempt + 1 or after.state != "leased":
        raise Violation(Kind.OTHER, f"attempts must rise by one: {before} -> {after}")


def _require_transition(operation: Operation, before: RunRow, after: RunRow) -> None:
    step = (before.state, after.state)
    if step in (("queued", "cancelled"), ("queued", "failed")):
        if operation.name not in ("cancel", "sweep", "revoke"):
            raise Violation(Kind.LOST, f"{operation} ended a run that waits: {before} -> {after}")
        return
    ran_out = _may_be_taken_back(operation, before)
    if before.state != "leased":
        raise Violation(Kind.STALE, f"{operation}: {before} -> {after}")
    if ran_out:
        allowed = _after_expiry(operation, before)
        if after.state not in allowed:
            raise Violation(Kind.LOST, f"an expired lease: {before} -> {after}, expected one of {allowed}")
        return
    _require_own_attempt(operation, before)
    if operation.name != "report" or after.result is None:
        raise Violation(Kind.LOST, f"{operation} ended a run without a result: {before} -> {after}")


def _after_expiry(operation: Operation, before: RunRow) -> set[str]:
    if before.cancel_requested:
        return {"cancelled"}
    if before.attempt >= operation.max_attempts:
        return {"failed"}
    # one sweep may take a lease back and then find that nobody will do the run
    is_stranded = operation.name == "sweep" and before.device_id in operation.revoked
    return {"queued", "failed"} if is_stranded else {"queued"}


def _require_own_attempt(operation: Operation, before: RunRow) -> None:
    """Only the device that holds this very attempt may write about it."""
    mine = (operation.run_id, operation.device_id, operation.attempt)
    if before.state != "leased" or mine != (before.run_id, before.device_id, before.attempt):
        raise Violation(Kind.STALE, f"{operation} changed {before}")


def _may_be_taken_back(operation: Operation, before: RunRow) -> bool:
    """A lease ends when its time is over, or when its own agent asks for work because it lost the run."""
    if before.state != "leased":
        return False
    if operation.name == "claim" and operation.device_id == before.device_id:
        return True
    is_over = before.expires_s is not None and before.expires_s < operation.at_s
    return is_over and operation.name in ("claim", "sweep")
