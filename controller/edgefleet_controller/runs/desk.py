"""Where devices hand in claims, heartbeats and reports: memory in front of the store."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.database import Change, Database
from edgefleet_controller.dispatch import changes as changes
from edgefleet_controller.dispatch.group_commit import GroupCommit
from edgefleet_controller.dispatch.lease_book import Lease, LeaseBook
from edgefleet_controller.dispatch.roster import Card, Roster
from edgefleet_controller.dispatch.work import WorkIndex
from edgefleet_controller.errors import ControllerError
from edgefleet_controller.rollouts.offers import Offers
from edgefleet_controller.runs import repository, service
from edgefleet_controller.runs.aftermath import Aftermath, Note
from edgefleet_controller.runs.heartbeats import Heartbeats
from edgefleet_controller.runs.leasing import Claimant, Leased, lease_next, with_work
from edgefleet_controller.runs.orphans import Fate, fate_of, holder
from edgefleet_controller.runs.reporting import Completion, Handed, Unchecked, check_report, complete_all
from edgefleet_controller.runs.rules import LeaseRules
from edgefleet_controller.runs.starts import Place, Starts
from edgefleet_controller.settings import Settings
from edgefleet_controller.wakeups import Wakeups

WOKEN_AT_ONCE = 2
"""Waiting devices that are woken for a run that any of them may take; each that gets one wakes as many again."""


@dataclass(frozen=True)
class Wanted:
    """A claim: the device, and the start and number by which its agent names it."""

    card: Card
    boot: str | None = None
    claim: int | None = None


class Desk:
    """One for each API process."""

    def __init__(self, settings: Settings, database: Database, blobs: BlobStore, wakeups: Wakeups, rules: LeaseRules):
        self._database, self._blobs, self._wakeups, self.rules = database, blobs, wakeups, rules
        self.roster = Roster()
        self.work = WorkIndex(self.roster)
        self.book = LeaseBook()
        self.offers = Offers()
        self.heartbeats = Heartbeats(database, self.book, rules, settings.heartbeat_flush_s)
        self.aftermath = Aftermath(database, database.clock, settings.aftermath_s)
        self._leases: GroupCommit[Wanted, Leased | None] = GroupCommit(self.lease_all)
        self._reports: GroupCommit[Handed | Unchecked, Completion] = GroupCommit(self.report_all)
        self._starts = Starts()

    def load(self) -> None:
        """Read devices, waiting work and leases from the store."""
        now = self._database.clock.now()
        with self._database.reading() as session:
            self.roster.refresh(session, now)
            for run in repository.leases(session):
                if run.lease_expires_at is not None and run.device_id is not None:
                    until = run.lease_expires_at
                    self.book.put(
                        Lease(
                            run.id,
                            run.attempt,
                            run.device_id,
                            until,
                            until,
                            run.phase,
                            run.cancel_requested,
                            leased_to=run.leased_to,
                        )
                    )
        self.scan()

    def scan(self) -> None:
        """Learn what other processes wrote, should their news have been lost."""
        now = self._database.clock.now()
        with self._database.reading() as session:
            changed = self.roster.refresh(session, now)
            named = repository.devices_with_queued(session)
            requirements = repository.open_requirements(session)
            cancelled = repository.cancelled_leases(session)
        for device_id in named - self.work.named():
            self.work.add_device(device_id)
        for sha256, requirement in requirements.items():
            if not self.work.knows(sha256):
                self.work.add_requirement(sha256, requirement)
        self.book.doubt(cancelled)
        for device_id in changed:
            self._wakeups.notify(f"device:{device_id}")
        self.wake_free()

    def wake_free(self, *, returned: bool = False) -> None:
        """Wake devices that wait although there may be something for them.

        ``returned``: those alone that may have come back by the clock, from a rest or a maintenance window.
        """
        now = self._database.clock.now()
        for device_id in self.work.named():
            card = self.roster.get(device_id)
            if card is not None and card.is_free(now):
                self._wakeups.notify(f"device:{device_id}")
        for sha256 in self.work.requirements():
            self.wake_fitting(sha256, returned=returned)

    def hear(self, change: Change) -> None:
        """Take in what this process, or another one, has committed."""
        if change.topic == "device":
            self.work.add_device(change.key)
            self._wakeups.notify(f"device:{change.key}")
        elif change.topic == "device_changed":
            with self._database.reading() as session:
                self.roster.fetch(session, [change.key])
            self._wakeups.notify(f"device:{change.key}")
        elif change.topic == "requirement":
            self._hear_requirement(change.key)
        elif change.topic == "lease":
            self.book.doubt([change.key])

    def _hear_requirement(self, sha256: str) -> None:
        known = self.work.requirements().get(sha256)
        if known is None:
            with self._database.reading() as session:
                known = repository.find_requirement(session, sha256)
        if known is not None:
            self.work.add_requirement(sha256, known)
            self.wake_fitting(sha256)

    def wake_fitting(self, sha256: str, *, returned: bool = False) -> None:
        """Wake some of the waiting devices that may take a run with this requirement, those that wait longest first."""
        now, n_woken = self._database.clock.now(), 0
        for key in self._wakeups.keys_of("device"):
            card = self.roster.get(key.removeprefix("device:"))
            if card is None or (returned and card.rests_until is None and not card.windows):
                continue
            if card.is_free(now) and self.work.may_serve(card, sha256):
                self._wakeups.notify(key)
                n_woken += 1
                if n_woken == WOKEN_AT_ONCE:
                    return

    def place_of(self, wanted: Wanted) -> Place:
        """Note the claim and say whether it comes from the latest start of the device's agent."""
        if wanted.boot is None or wanted.claim is None:
            return Place.LATEST
        return self._starts.take_in(wanted.card.id, wanted.boot, wanted.claim)

    def may_hold_run(self, wanted: Wanted, place: Place) -> bool:
        """Whether to look for a run that the device holds already, see ``runs.orphans``."""
        if place is Place.NEW:
            return True
        lease = self.book.of_device(wanted.card.id)
        if lease is None:
            return False
        return lease.until <= self._database.clock.now() or wanted.boot is not None

    def settle_held(self, wanted: Wanted) -> Leased | None:
        """End the run that the device holds, if its agent lost it; the same order again, if only the answer was lost."""
        self.heartbeats.flush()
        with self._database.writing() as session:
            service.expire_leases(session, self.rules, device_id=wanted.card.id)
            held = repository.leased_run(session, wanted.card.id)
            if held is None:
                self._forget_lease(wanted.card.id)
                return None
            fate = fate_of(held.leased_to, wanted.boot, wanted.claim)
            if fate is Fate.VOID:
                service.void_lease(session, held, self.rules)
                self.book.end(held.id)
                return None
        return self._repeat(wanted, held.id) if fate is Fate.REPEAT else None

    def _forget_lease(self, device_id: str) -> None:
        lease = self.book.of_device(device_id)
        if lease is not None:
            self.book.end(lease.run_id)

    def _repeat(self, wanted: Wanted, run_id: str) -> Leased | None:
        until = self._database.clock.now() + timedelta(seconds=self.rules.lease_s)
        with self._database.writing() as session:
            run = repository.extend_lease_of(session, run_id, wanted.card.id, until)
            if run is None:
                return None
            again = Leased(
                run_id=run.id,
                attempt=run.attempt,
                device_id=wanted.card.id,
                job_id=run.job_id,
                variant_id=run.variant_id,
                comparison_id=run.comparison_id,
                variant_name=None,
                order=json.dumps(run.order),
                until=until,
            )
        self._note_lease(again, Claimant(wanted.card, {}, holder(wanted.boot, wanted.claim)))
        return again

    async def lease(self, wanted: Wanted) -> Leased | None:
        """The device's next run; None if the store has none for it now."""
        return await self._leases.submit(wanted)

    def lease_all(self, wanted: Sequence[Wanted]) -> list[Leased | Exception | None]:
        """Lease in one transaction; each device gets at most one run."""
        now, count = self._database.clock.now(), self.work.count
        until = now + timedelta(seconds=self.rules.lease_s)
        claimants = [Claimant(one.card, self.work.fitting(one.card), holder(one.boot, one.claim)) for one in wanted]
        try:
            with self._database.transaction() as connection:
                leased = lease_next(connection, _one_each(claimants), now, until)
                waiting = with_work(connection, [one.card.id for one in claimants])
        except IntegrityError:
            if len(wanted) > 1:
                raise  # each on its own
            leased, waiting = {}, {wanted[0].card.id}  # another claim of this device was faster
        for claimant in claimants:
            found = leased.get(claimant.card.id)
            if found is not None:
                self._note_lease(found, claimant)
        notes = [_leased_note(one, self.roster.get(one.device_id)) for one in leased.values()]
        self.aftermath.add(notes, may_wait=True)  # the board has its order by then
        self._settle_work(claimants, leased, waiting, count)
        answered: set[str] = set()
        answers: list[Leased | Exception | None] = []
        for one in wanted:
            answers.append(leased.get(one.card.id) if one.card.id not in answered else None)
            answered.add(one.card.id)
        return answers

    def _note_lease(self, found: Leased, claimant: Claimant) -> None:
        self.book.put(
            Lease(found.run_id, found.attempt, found.device_id, found.until, found.until, leased_to=claimant.leased_to)
        )
        for sha256 in claimant.fitting:
            self.wake_fitting(sha256)

    def _settle_work(
        self, claimants: Collection[Claimant], leased: Mapping[str, Leased], waiting: Collection[str], count: int
    ) -> None:
        """Forget work that the store did not have."""
        still_open: Collection[str] = self.work.requirements().keys()
        if any(one.fitting and one.card.id not in leased for one in claimants):
            with suppress(SQLAlchemyError), self._database.reading() as session:
                # the leases are committed: what fails here must not fail them
                still_open = repository.open_requirements(session).keys()
        for one in claimants:
            gone = set(one.fitting) - set(still_open) if one.card.id not in leased else ()
            self.work.settle("" if one.card.id in waiting else one.card.id, gone, count)

    async def report(self, handed: Handed | Unchecked) -> Completion:
        """Accept a report, once; raises why not."""
        return await self._reports.submit(handed)

    def report_all(self, handed: Sequence[Handed | Unchecked]) -> list[Completion | Exception]:
        """Check the reports that were not, and accept them in one transaction."""
        checked = [self._checked(one) for one in handed]
        sound = [one for one in checked if isinstance(one, Handed)]
        accepted = iter(self._accept(sound) if sound else ())
        return [next(accepted) if isinstance(one, Handed) else one for one in checked]

    def _checked(self, one: Handed | Unchecked) -> Handed | ControllerError:
        if isinstance(one, Handed):
            return one
        try:
            return check_report(one.card, one.request, self._blobs)
        except ControllerError as err:
            return err

    def _accept(self, handed: Sequence[Handed]) -> list[Completion | Exception]:
        with self._database.writing() as session:
            answers = complete_all(session, handed, self._blobs, self.rules.quarantine_after)
        notes = []
        for one, answer in zip(handed, answers, strict=True):
            if isinstance(answer, Completion) and answer.note is not None:
                self.book.end(one.request.run_id)
                notes.append(answer.note)
                if answer.card is not None and answer.card is not one.card:
                    self.roster.put(answer.card)
        self.aftermath.add(notes)
        return answers


def _one_each(claimants: Sequence[Claimant]) -> list[Claimant]:
    return list({one.card.id: one for one in reversed(claimants)}.values())


def _leased_note(leased: Leased, card: Card | None) -> Note:
    name = card.name if card is not None else leased.device_id
    return Note(
        kind="run_leased",
        message=f"{name} took the run, attempt {leased.attempt}",
        run_id=leased.run_id,
        attempt=leased.attempt,
        job_id=leased.job_id,
        variant_id=leased.variant_id,
        comparison_id=leased.comparison_id,
        variant_name=leased.variant_name,
    )
