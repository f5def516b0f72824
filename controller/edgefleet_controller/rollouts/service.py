"""Releases of the agent, and bringing them to boards."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from edgefleet_agent.wire.updates import UpdateOutcome
from edgefleet_controller.blobs.errors import BlobMissing
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import AgentRelease, Device, Rollout, RolloutDevice
from edgefleet_controller.devices import service as devices
from edgefleet_controller.devices.errors import NoDevices
from edgefleet_controller.devices.presence import Presence
from edgefleet_controller.errors import NameTaken, NotFound, StateForbids
from edgefleet_controller.rollouts import repository
from edgefleet_controller.rollouts.errors import UnknownReleaseNamed
from edgefleet_controller.rollouts.schemas import (
    ReleaseCreate,
    RolloutCreate,
    RolloutDetail,
    RolloutDeviceView,
    RolloutView,
)
from edgefleet_controller.rollouts.stages import FAILED, OPEN, Candidate, Tally, choose_canaries, next_state
from edgefleet_controller.rollouts.wheels import wheel_name, wheel_version

UPDATED_KINDS = ("physical", "emulated")
"""Kinds of device that have an agent of their own; simulated and replayed ones are part of another program."""

SILENT_AFTER = timedelta(minutes=30)
"""A board that took the offer and has not checked in with the version by then counts as failed: installing and trying a
version take some minutes on a slow board, three starts without a check-in a few more."""

SILENT = "it took the offer and did not check in with the new version within 30 minutes"
MAX_REASONS = 20


def add_release(session: Session, request: ReleaseCreate, blobs: BlobStore) -> tuple[AgentRelease, bool]:
    """The release of this wheel, and whether it is new; WheelRefused, BlobMissing or NameTaken why not."""
    if not blobs.exists(request.wheel_sha256):
        raise BlobMissing
    version = wheel_version(blobs.path(request.wheel_sha256))
    known = repository.find_release(session, version)
    if known is not None and known.wheel_sha256 != request.wheel_sha256:
        raise NameTaken(f"Version {version} is another wheel already; build the new one under its own version.")
    if known is not None:
        return known, False
    release = AgentRelease(
        id=new_id("rel"),
        version=version,
        wheel_name=wheel_name(version),
        wheel_sha256=request.wheel_sha256,
        created_at=now_of(session),
    )
    session.add(release)
    session.flush()
    return release, True


def start(session: Session, request: RolloutCreate, presence: Presence, online_within_s: float) -> Rollout:
    """Begin to bring the release to the boards; those that have it already count as updated."""
    release = repository.find_release(session, request.release)
    if release is None:
        raise UnknownReleaseNamed(f"There is no release {request.release!r}; register its wheel first.")
    chosen = [one for one in devices.choose(session, request.devices, request.match) if one.kind in UPDATED_KINDS]
    if not chosen:
        raise NoDevices("None of the devices has an agent of its own: simulated and replayed ones are not updated.")
    taken = repository.in_open_rollouts(session, [one.id for one in chosen])
    if taken:
        names = ", ".join(sorted(one.name for one in chosen if one.id in taken)[:5])
        raise StateForbids(f"{names}: another rollout is about to update it; wait for its end, or cancel it.")
    now = now_of(session)
    rollout = Rollout(
        id=new_id("rol"),
        release_id=release.id,
        state="canary",
        max_failures=request.max_failures,
        message="",
        created_at=now,
    )
    session.add(rollout)
    session.flush()
    online_since = now - timedelta(seconds=online_within_s)
    candidates = [
        Candidate(one.id, one.board, _is_online(presence, one, online_since))
        for one in chosen
        if one.agent_version != release.version
    ]
    canaries = choose_canaries(candidates, request.canary_share)
    session.add_all(_row(rollout, one, release, one.id in canaries) for one in chosen)
    session.flush()
    advance(session, rollout, release.version)
    return rollout


def _is_online(presence: Presence, device: Device, since: datetime) -> bool:
    sighting = presence.get(device.id)
    seen_at = sighting.seen_at if sighting is not None else device.last_seen_at
    return seen_at is not None and seen_at >= since


def _row(rollout: Rollout, device: Device, release: AgentRelease, is_canary: bool) -> RolloutDevice:
    has_it = device.agent_version == release.version
    return RolloutDevice(
        rollout_id=rollout.id,
        device_id=device.id,
        is_canary=is_canary,
        state="updated" if has_it else "pending",
        from_version=device.agent_version,
        finished_at=rollout.created_at if has_it else None,
    )


def advance(session: Session, rollout: Rollout, version: str) -> None:
    """Take in who has checked in, and go on, end or stop accordingly."""
    if rollout.state not in OPEN:
        return
    now = now_of(session)
    repository.settle_check_ins(session, rollout, version, now)
    repository.fail_silent(session, rollout, now - SILENT_AFTER, now, SILENT)
    repository.drop_revoked(session, rollout)
    counts = repository.counts(session, rollout.id)
    rollout.state = next_state(rollout.state, Tally.of(counts[True]), Tally.of(counts[False]), rollout.max_failures)
    if rollout.state not in OPEN:
        rollout.finished_at = now
    if rollout.state == "stopped":
        n_failed = sum(counts[is_canary].get(state, 0) for is_canary in counts for state in FAILED)
        said = "; ".join(repository.reasons(session, rollout.id, MAX_REASONS))
        rollout.message = f"{n_failed} {'board' if n_failed == 1 else 'boards'} failed: {said}"
    session.flush()


def cancel(session: Session, rollout_id: str) -> Rollout:
    """Offer the release to no further board; StateForbids once it is over."""
    rollout = repository.find_locked(session, rollout_id)
    if rollout is None:
        raise NotFound
    if rollout.state == "cancelled":
        return rollout
    if rollout.state not in OPEN:
        raise StateForbids(f"The rollout is {rollout.state} already.")
    rollout.state, rollout.finished_at = "cancelled", now_of(session)
    session.flush()
    return rollout


def take_offer(session: Session, device_id: str) -> tuple[Rollout, AgentRelease]:
    """What the board is to install now, noted as offered; NotFound if there is nothing."""
    found = repository.find_due(session, device_id)
    if found is None:
        raise NotFound("There is no update for this device now.")
    rollout, row, release = found
    if session.get_one(Device, device_id).agent_version == release.version:
        raise NotFound("This device has the version already.")
    if row.state == "pending":
        row.state, row.offered_at = "offered", now_of(session)
        session.flush()
    return rollout, release


def take_outcome(session: Session, device_id: str, outcome: UpdateOutcome) -> None:
    """Note that the board did not take the release, or went back; NotFound if it was never offered it."""
    row = repository.find_device(session, outcome.rollout_id, device_id)
    if row is None or row.state == "pending":
        raise NotFound("This device was not offered that rollout.")
    row.state, row.message, row.finished_at = outcome.outcome, outcome.message, now_of(session)
    session.flush()


def view(session: Session, rollout: Rollout) -> RolloutView:
    """The rollout as a list shows it."""
    counts = repository.counts(session, rollout.id)
    states = sorted(set(counts[True]) | set(counts[False]))
    return RolloutView(
        id=rollout.id,
        version=session.get_one(AgentRelease, rollout.release_id).version,
        state=rollout.state,
        max_failures=rollout.max_failures,
        message=rollout.message,
        counts={state: counts[True].get(state, 0) + counts[False].get(state, 0) for state in states},
        created_at=rollout.created_at,
        finished_at=rollout.finished_at,
    )


def detail(session: Session, rollout: Rollout) -> RolloutDetail:
    """The rollout with its boards."""
    return RolloutDetail(**view(session, rollout).model_dump(), devices=_boards(session, rollout))


def _boards(session: Session, rollout: Rollout) -> Sequence[RolloutDeviceView]:
    fields = ("is_canary", "state", "from_version", "message", "offered_at", "finished_at")
    return [
        RolloutDeviceView(name=name, agent_version=version, **{field: getattr(row, field) for field in fields})
        for name, version, row in repository.progress(session, rollout.id)
    ]
